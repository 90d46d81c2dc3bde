"""Schedulers whose schedules are edited while they run: ours, and two others for Celery."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import kombu

from deploy.local.process import Process, free_port
from tests.bench.beat_counts import Sent
from tests.bench.beat_script import Definition
from tests.bench.job_sides import query, start_ours
from tests.bench.peer import FOLDER, Missing, await_ready, environment
from tests.bench.site import Site
from tests.bench.tools import LoadError
from tests.http import Answer, fetch

_START = 60.0  # seconds
_PATIENCE = 5.0  # seconds in which an edit has to succeed
_SENT = """\
SELECT schedule, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created) / 1e6,
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', tick) / 1e6
FROM jobs WHERE tick IS NOT NULL"""


@dataclass(frozen=True)
class Side:
    """A server with PUT /schedules/NAME, and what starts its schedulers.

    Attributes:
        url: of the server.
        body: what is put, beside the timing.
        start: starts one more scheduler.
        sent: what all of them have sent until now.
    """

    url: str
    body: Mapping[str, Any]
    start: Callable[[], Process]
    sent: Callable[[], Sequence[Sent]]

    def put(self, name: str, definition: Definition) -> list[float]:
        """Make or edit a schedule, again where that fails: its next ticks, where they are known. Raises LoadError."""
        deadline = time.monotonic() + _PATIENCE
        while (answer := self._put(name, definition)).status not in (200, 201):
            if time.monotonic() > deadline:
                raise LoadError(f"{name} cannot be edited: {answer.status} {answer.body[:200]!r}")
        ticks = answer.json().get("next", [])
        return [datetime.fromisoformat(tick.replace("Z", "+00:00")).timestamp() for tick in ticks]

    def _put(self, name: str, definition: Definition) -> Answer:
        cron = "* * * * *" if definition.every is None else None
        timing = {"cron": cron, "every": definition.every, "enabled": definition.enabled}
        content = json.dumps({**self.body, **timing}).encode()
        return fetch(f"{self.url}/schedules/{name}", "PUT", {"Content-Type": "application/json"}, content)


@contextmanager
def _ours(site: Site) -> Iterator[Side]:
    jobs = start_ours(site)
    beat = ["celery", "-A", "tasks", "beat", "-l", "WARNING"]

    def sent() -> list[Sent]:
        return [Sent(name, float(at), tick=float(tick)) for name, at, tick in query(site, _SENT)]

    body = {"job": {"name": "nothing"}}
    yield Side(jobs.url.removesuffix("/jobs"), body, lambda: site.start("beat", *beat), sent)


@contextmanager
def _django(site: Site) -> Iterator[Side]:
    programs, folder = environment("django_celery_beat"), FOLDER / "django_celery_beat"
    given = {"QUEUE": "beats.django"}
    migrate = site.run("django-migrate", [str(programs / "python"), "manage.py", "migrate"], given, folder)
    _await_end(migrate)
    port = str(free_port())
    server = [str(programs / "python"), "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"]
    with _theirs(site, server, port, [str(programs / "celery"), "-A", "project"], given, folder) as side:
        yield side


@contextmanager
def _sqlalchemy(site: Site) -> Iterator[Side]:
    programs, folder = environment("sqlalchemy_celery_beat"), FOLDER / "sqlalchemy_celery_beat"
    port = str(free_port())
    server = [str(programs / "python"), "server.py", port]
    given = {"QUEUE": "beats.sqlalchemy"}
    with _theirs(site, server, port, [str(programs / "celery"), "-A", "beat"], given, folder) as side:
        yield side


@contextmanager
def _theirs(
    site: Site, server: Sequence[str], port: str, celery: Sequence[str], given: Mapping[str, str], folder: Path
) -> Iterator[Side]:
    url = f"http://127.0.0.1:{port}"
    running = site.run("beats-server", server, given, folder)
    await_ready(running, lambda: fetch(f"{url}/nothing").status == 404)
    command = [*celery, "beat", "-l", "WARNING"]
    with _messages(site.services.broker_url, given["QUEUE"]) as sent:
        yield Side(url, {}, lambda: site.run("beat", command, given, folder), lambda: list(sent))


@contextmanager
def _messages(url: str, queue: str) -> Iterator[Sequence[Sent]]:
    """What arrives in a queue, from now on and as it arrives."""
    found: list[Sent] = []
    ended = threading.Event()

    def take(body: Any, message: Any) -> None:
        arguments = body[0]
        if arguments:  # the schedulers have a task of their own, which has none
            found.append(Sent(arguments[0], time.time(), message.headers["origin"]))

    def run() -> None:
        with kombu.Connection(url) as connection, kombu.Consumer(
            connection, [kombu.Queue(queue)], callbacks=[take], no_ack=True, accept=["json"]
        ):
            while not ended.is_set():
                try:
                    connection.drain_events(timeout=0.2)
                except TimeoutError:
                    continue

    thread = threading.Thread(target=run, name=f"messages-{queue}")
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def _await_end(process: Process) -> None:
    """Wait until a program has done its work. Raises Missing."""
    deadline = time.monotonic() + _START
    while process.returncode is None:
        if time.monotonic() > deadline:
            raise Missing(f"{process.name} takes too long")
        time.sleep(0.1)
    if process.returncode:
        raise Missing(f"{process.name} failed")


# By the names of the command line.
SIDES = {"nowait-beat": _ours, "django-celery-beat": _django, "sqlalchemy-celery-beat": _sqlalchemy}
