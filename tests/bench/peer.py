"""This bridge and every other way to await a task, each as a server and a worker: the task returns its argument."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import LocalError
from deploy.local.process import Process, free_port, listens
from tests import programs
from tests.bench.site import OURS, STOCK, THREADS, Kind, Site
from tests.bench.tools import wrk
from tests.environments import NotInstalled, programs_of
from tests.http import fetch

FOLDER = Path(__file__).parent / "peers"
# The sides, by what they are called on the command line.
TITLES = {
    "lean": "this bridge, Nowait's worker",
    "bridge": "this bridge, stock Celery worker",
    "executor": "Celery, run_in_executor(get)",
    "polling": "Celery, polling ready()",
    "flower": "Flower's apply",
    "taskiq": "FastAPI, taskiq, Redis",
    "faststream": "Tornado, FastStream RPC",
    "aio-pika": "Tornado, aio-pika RPC",
}
CONNECTIONS = 50


class Missing(Exception):
    """A peer that cannot be measured here; the text says why."""


@dataclass
class Side:
    """A server and a worker that answer GET /echo/1, or Flower's way of it, with 1.

    Attributes:
        url: what is asked for.
        server: the process that answers.
        workers: those behind it, Redis with them, but not the broker.
        expected: the body of an answer, see check.lua.
        body: what is posted; None for a GET.
        how: its settings, in words.
    """

    url: str
    server: Process
    workers: Sequence[Process]
    expected: str = "1"
    body: str | None = None
    how: str = ""


def environment(name: str) -> Path:
    """The folder of the programs of a peer's environment. Raises Missing."""
    try:
        return programs_of(f"peers/{name}", FOLDER / name / "requirements.txt")
    except NotInstalled as error:
        raise Missing(str(error)) from error


def await_ready(process: Process, ready: Callable[[], bool]) -> None:
    """Wait until a program serves. Raises Missing."""
    try:
        process.wait_until(ready, 30.0)
    except LocalError as error:
        raise Missing(f"it does not start: {str(error)[-300:]}") from error


def start_redis(site: Site) -> tuple[Process, str]:
    """A Redis for results, and its URL. Raises Missing."""
    try:
        programs.require("redis-server")
    except LocalError as error:
        raise Missing(str(error)) from error
    port = free_port()
    command = [programs.path("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    redis = site.run("peer-redis", command, {}, FOLDER)
    await_ready(redis, lambda: listens(port))
    return redis, f"redis://127.0.0.1:{port}"


class Sides:
    """Starts the sides.

    Args:
        site: where they run.
        quick: of the settings of a recipe, only one is tried.
    """

    def __init__(self, site: Site, quick: bool) -> None:
        self._site = site
        threads = ("8",) if quick else ("4", "8", "16", "32")
        pauses = ("0.005",) if quick else ("0.002", "0.005", "0.01", "0.02")
        self._starts: dict[str, Callable[[], Side]] = {
            "lean": lambda: self._bridge(OURS),
            "bridge": lambda: self._bridge(STOCK),
            "executor": lambda: self._best("executor", threads, "threads"),
            "polling": lambda: self._best("polling", pauses, "s between two looks"),
            "flower": self._flower,
            "taskiq": self._taskiq,
            "faststream": lambda: self._tornado("faststream", ["bin/faststream", "run", "worker:app"]),
            "aio-pika": lambda: self._tornado("aio_pika", ["bin/python", "worker.py"]),
        }

    def start(self, name: str) -> Side:
        """Start one. Raises Missing."""
        return self._starts[name]()

    def _bridge(self, kind: Kind) -> Side:
        queue = f"peer.{kind.name}"
        worker = self._site.echo_worker(kind, queue)
        server, url = self._site.server("peer-bridge", "/echo/1", "tests.bench.echo", "PORT", test_queue=queue)
        return Side(f"{url}/echo/1", server, [worker], how=f"{kind.prefetch} messages ahead")

    def _celery_worker(self, given: dict[str, str]) -> tuple[Path, Process]:
        """The programs of the Celery environment, and a stock worker of it."""
        programs_ = environment("celery")
        command = [str(programs_ / "celery"), "-A", "worker", "worker", "-l", "WARNING"]
        command += [*STOCK.options("threads", THREADS), "--without-gossip", "--without-mingle"]
        worker = self._site.run("peer-celery", command, given, FOLDER / "celery")
        await_ready(worker, lambda: self._site.depth(given["QUEUE"])[1] > 0)
        return programs_, worker

    def _best(self, kind: str, choices: Sequence[str], what: str) -> Side:
        """A recipe, at the best of several settings."""
        given = {"QUEUE": f"peer.{kind}"}
        programs_, worker = self._celery_worker(given)
        best: Side | None = None
        best_rate = 0.0
        for choice in choices:
            port = free_port()
            command = [str(programs_ / "python"), "server.py", kind, str(port), choice]
            server = self._site.run(f"peer-{kind}", command, given, FOLDER / "celery")
            url = f"http://127.0.0.1:{port}/echo/1"
            await_ready(server, lambda: fetch(url).status == 200)
            side = Side(url, server, [worker], how=f"{choice} {what}")
            rate = 0.0
            if len(choices) > 1:
                wrk(url, connections=CONNECTIONS, seconds=1, expected="1")
                rate = wrk(url, connections=CONNECTIONS, seconds=2, expected="1").per_second
            if best is None or rate > best_rate:
                if best is not None:
                    best.server.stop()
                best, best_rate = side, rate
            else:
                server.stop()
        assert best is not None
        return best

    def _flower(self) -> Side:
        # With rpc:// it loses the results of calls that are in flight at the same time.
        redis, redis_url = start_redis(self._site)
        given = {"QUEUE": "peer.flower", "RESULTS": redis_url, "FLOWER_UNAUTHENTICATED_API": "true"}
        programs_, worker = self._celery_worker(given)
        port = free_port()
        command = [str(programs_ / "celery"), "-A", "worker", "flower", "--address=127.0.0.1", f"--port={port}"]
        # It would have all workers of the broker send events, ours too: without them each side is at its best.
        command += ["--logging=error", "--enable-events=False"]
        server = self._site.run("peer-flower", command, given, FOLDER / "celery")
        url, body = f"http://127.0.0.1:{port}/api/task/apply/echo", json.dumps({"args": [1]})
        json_ = {"Content-Type": "application/json"}
        await_ready(server, lambda: fetch(url, "POST", json_, body.encode()).status == 200)
        return Side(url, server, [worker, redis], expected='~"result": 1', body=body, how="results in Redis, no events")

    def _taskiq(self) -> Side:
        programs_, folder = environment("taskiq"), FOLDER / "taskiq"
        redis, redis_url = start_redis(self._site)
        port, given = free_port(), {"REDIS_URL": redis_url}
        command = [str(programs_ / "taskiq"), "worker", "app:broker", "--workers", "1", "--log-level", "ERROR"]
        worker = self._site.run("peer-taskiq-worker", command, given, folder)
        command = [str(programs_ / "uvicorn"), "app:server", "--port", str(port), "--log-level", "error"]
        server = self._site.run("peer-taskiq", command, given, folder)
        url = f"http://127.0.0.1:{port}/echo/1"
        await_ready(server, lambda: fetch(url).status == 200)
        return Side(url, server, [worker, redis], how="5 ms between two looks")

    def _tornado(self, name: str, command: list[str]) -> Side:
        programs_, folder, given = environment(name), FOLDER / name, {"QUEUE": f"peer.{name}"}
        program = str(programs_.parent / command[0])
        worker = self._site.run(f"peer-{name}-worker", [program, *command[1:]], given, folder)
        await_ready(worker, lambda: self._site.depth(given["QUEUE"])[1] > 0)
        port = free_port()
        server = self._site.run(f"peer-{name}", [str(programs_ / "python"), "server.py", str(port)], given, folder)
        url = f"http://127.0.0.1:{port}/echo/1"
        await_ready(server, lambda: fetch(url).status == 200)
        return Side(url, server, [worker])
