"""`make run`: broker, database, one worker, one scheduler and one server, in the foreground."""

import argparse
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import kombu

from deploy.local import folder, sample
from deploy.local.errors import LocalError
from deploy.local.process import Process
from deploy.local.services import Services
from nowait.jobs import migrations
from nowait.jobs.schema import shortcoming

ROOT = Path(__file__).resolve().parents[2]
_QUEUE = "queries"
_START_TIMEOUT = 60.0
# Within 10 seconds all is over: requests in flight get the first of them, the worker's tasks the
# next, broker and database the rest.
_DRAIN, _SERVER_STOP, _WORKER_STOP, _SERVICES_STOP = 2.0, 3.5, 1.5, 4.0
_WORKER = "-A tasks worker -P threads -c 32 --loglevel WARNING".split()
_BEAT = "-A tasks beat --loglevel WARNING".split()
_PLAIN = "\033[0m"
_COLOURS = {"worker": "\033[33m", "beat": "\033[35m", "server": "\033[36m"}


class Stopped(Exception):
    """A signal asked the stack to stop."""


def main() -> int:
    """Run until a signal comes or a part ends. Returns the exit status: 0 after a signal."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local",
        description="Broker, database, one worker, one scheduler and one server, in the foreground until Ctrl-C. A"
        " private database is filled with sample data, and migrated; one that is given is not written to.",
    )
    parser.add_argument("--folder", type=Path, default=ROOT / ".local" / "run", help="where private services live")
    where: Path = parser.parse_args().folder
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        with folder.owned(where, _say), ExitStack() as stack:
            _run(where, stack)
        return 1
    except Stopped:
        _say("stopped")
        return 0
    except (LocalError, migrations.MigrationError) as error:
        _say(str(error))
        return 1


def _run(where: Path, stack: ExitStack) -> None:
    """Start everything and watch it. Returns, or raises LocalError, when a part ends."""
    services = Services(where)
    # Ctrl-C while stopping must not leave anything behind: it is over in seconds anyway.
    stack.callback(services.stop, _SERVICES_STOP)
    stack.callback(_ignore_signals)
    for name, service in (("broker", services.broker), ("database", services.database)):
        _say(f"{name}: {'given by the environment' if service is None else f'private, {service.directory}'}")
    services.start()
    if services.database is None:
        # Somebody's own: it is not written to.
        if not sample.exists(services.database_url):
            _say("the database has no table users: `make sample` loads one")
        if missing := shortcoming(migrations.revision(services.database_url)):
            _say(missing)
    else:
        if sample.load(services.database_url):
            _say("sample data: loaded")
        migrations.migrate(services.database_url)
    environment = {**os.environ, **services.environment()}
    # The page of the demo has no key.
    environment.setdefault("NOWAIT_DEMO", "0" if environment.get("NOWAIT_KEYS") else "1")
    # For `celery -A tasks inspect`; nobody else reaches this broker.
    environment.setdefault("NOWAIT_REMOTE_CONTROL", "1")
    environment.setdefault("NOWAIT_SHUTDOWN_TIMEOUT", str(_DRAIN))
    worker, beat = (
        Process(
            name,
            [sys.executable, "-m", "celery", "--quiet", *arguments],
            env={**environment, **metrics_of(environment, number)},
            cwd=ROOT,
            output=_labelled(name),
        )
        for number, (name, arguments) in enumerate((("worker", _WORKER), ("beat", _BEAT)), 1)
    )
    stack.callback(worker.stop, _WORKER_STOP)
    # It leaves nothing that were to be ended.
    stack.callback(beat.kill)
    server = Process(
        "server", [sys.executable, "-m", "server"], env=environment, cwd=ROOT, output=_labelled("server")
    )
    stack.callback(server.stop, _SERVER_STOP)
    stack.callback(_ignore_signals)
    worker.wait_until(lambda: _has_consumer(services.broker_url), _START_TIMEOUT)
    url = _url(environment)
    server.wait_until(lambda: _answers(f"{url}/readyz"), _START_TIMEOUT)
    _say(f"ready: {url}")
    while True:
        for process in (worker, beat, server):
            if process.returncode is not None:
                raise LocalError(f"{process.name} ended with status {process.returncode}: stopping the rest")
        time.sleep(0.2)


def metrics_of(environment: dict[str, str], number: int) -> dict[str, str]:
    """The address of a program's metrics: the server, number 0, has that of the environment, others the next ports."""
    given = environment.get("NOWAIT_METRICS")
    if not given:
        return {}
    host, _, port = given.rpartition(":")
    # What is no address, each program says by itself.
    return {"NOWAIT_METRICS": f"{host}:{int(port) + number}"} if port.isdecimal() else {}


def _url(environment: dict[str, str]) -> str:
    address = environment.get("NOWAIT_ADDRESS") or "127.0.0.1"
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(address, address)
    return f"http://{host}:{environment.get('NOWAIT_PORT') or 8000}"


def _answers(url: str) -> bool:
    """True when a GET is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _has_consumer(broker_url: str) -> bool:
    """True when a worker consumes the queue of the queries."""
    try:
        with kombu.Connection(broker_url, connect_timeout=2) as connection:
            channel: Any = connection.default_channel
            return bool(channel.queue_declare(_QUEUE, passive=True).consumer_count)
    except Exception:
        # Not there yet, whatever the transport calls it: asked again until the time is over.
        return False


def _labelled(name: str) -> Callable[[str], None]:
    """Prints lines with a label in front, coloured on a terminal."""
    label = f"{name} | "
    if sys.stdout.isatty():
        label = f"{_COLOURS[name]}{label}{_PLAIN}"
    return lambda line: _say(label + line)


def _say(text: str) -> None:
    print(text, flush=True)


def _stop(number: int, _frame: object) -> None:
    raise Stopped(signal.Signals(number).name)


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
