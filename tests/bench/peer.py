"""This bridge and every other way to await a task, side by side: the task returns its argument."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from deploy.local.errors import LocalError
from deploy.local.process import Process, free_port, listens
from tests import programs
from tests.bench.ratio import turn
from tests.bench.results import Results, Step
from tests.bench.site import OURS, ROOT, STOCK, THREADS, Kind, Site, cpu, memory
from tests.bench.tools import Arrivals, Closed, LoadError, wrk
from tests.http import fetch

FOLDER = Path(__file__).parent / "peers"
ENVIRONMENTS = ROOT / ".venv" / "peers"
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
LEAN = "lean"  # which each of the others is measured with
# What the ratio of the requests per second, ours by theirs, should be at least; None where it is only to be seen.
PEERS: dict[str, float | None] = {
    "bridge": None, "executor": 5.0, "polling": 5.0, "flower": 5.0, "taskiq": 3.0, "faststream": 5.0, "aio-pika": 2.0,
}  # fmt: skip
# What the ratio of the CPU per request should be at most, by peer and part.
CPU_BOUNDS = {("bridge", "broker"): 0.5}
PARTS = ("server", "worker", "broker")
_CONNECTIONS = 50


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


@dataclass
class Round:
    """One measurement of a side: microseconds of CPU by request, and megabytes."""

    measured: Closed
    cpu: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """For the report, as JSON."""
        return {**asdict(self.measured), "cpu": self.cpu, "memory": self.memory}


def environment(name: str) -> Path:
    """The folder of the programs of a peer's environment, which is made when it is not there.

    Raises Missing.
    """
    folder, made = ENVIRONMENTS / name, ENVIRONMENTS / name / "made"
    wanted = FOLDER / name / "requirements.txt"
    if not made.exists() or made.stat().st_mtime < wanted.stat().st_mtime:
        print(f"installing {name} into {folder.relative_to(ROOT)}", flush=True)
        pip = [str(folder / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [*pip, "install", "--require-hashes", "-r", str(wanted)],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise Missing(f"it cannot be installed: {(done.stdout + done.stderr).strip()[-300:]}")
        made.touch()
    return folder / "bin"


def _await(process: Process, ready: Callable[[], bool]) -> None:
    try:
        process.wait_until(ready, 30.0)
    except LocalError as error:
        raise Missing(f"it does not start: {str(error)[-300:]}") from error


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
        _await(worker, lambda: self._site.depth(given["QUEUE"])[1] > 0)
        return programs_, worker

    def _results(self) -> tuple[Process, str]:
        """A Redis for results, and its URL."""
        try:
            programs.require("redis-server")
        except LocalError as error:
            raise Missing(str(error)) from error
        port = free_port()
        command = [programs.path("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        redis = self._site.run("peer-redis", command, {}, FOLDER)
        _await(redis, lambda: listens(port))
        return redis, f"redis://127.0.0.1:{port}"

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
            _await(server, lambda: fetch(url).status == 200)
            side = Side(url, server, [worker], how=f"{choice} {what}")
            rate = 0.0
            if len(choices) > 1:
                wrk(url, connections=_CONNECTIONS, seconds=1, expected="1")
                rate = wrk(url, connections=_CONNECTIONS, seconds=2, expected="1").per_second
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
        redis, redis_url = self._results()
        given = {"QUEUE": "peer.flower", "RESULTS": redis_url, "FLOWER_UNAUTHENTICATED_API": "true"}
        programs_, worker = self._celery_worker(given)
        port = free_port()
        command = [str(programs_ / "celery"), "-A", "worker", "flower", "--address=127.0.0.1", f"--port={port}"]
        server = self._site.run("peer-flower", [*command, "--logging=error"], given, FOLDER / "celery")
        url, body = f"http://127.0.0.1:{port}/api/task/apply/echo", json.dumps({"args": [1]})
        _await(server, lambda: fetch(url, "POST", {"Content-Type": "application/json"}, body.encode()).status == 200)
        return Side(url, server, [worker, redis], expected='~"result": 1', body=body, how="results in Redis")

    def _taskiq(self) -> Side:
        programs_, folder = environment("taskiq"), FOLDER / "taskiq"
        redis, redis_url = self._results()
        port, given = free_port(), {"REDIS_URL": redis_url}
        command = [str(programs_ / "taskiq"), "worker", "app:broker", "--workers", "1", "--log-level", "ERROR"]
        worker = self._site.run("peer-taskiq-worker", command, given, folder)
        command = [str(programs_ / "uvicorn"), "app:server", "--port", str(port), "--log-level", "error"]
        server = self._site.run("peer-taskiq", command, given, folder)
        url = f"http://127.0.0.1:{port}/echo/1"
        _await(server, lambda: fetch(url).status == 200)
        return Side(url, server, [worker, redis], how="5 ms between two looks")

    def _tornado(self, name: str, command: list[str]) -> Side:
        programs_, folder, given = environment(name), FOLDER / name, {"QUEUE": f"peer.{name}"}
        program = str(programs_.parent / command[0])
        worker = self._site.run(f"peer-{name}-worker", [program, *command[1:]], given, folder)
        _await(worker, lambda: self._site.depth(given["QUEUE"])[1] > 0)
        port = free_port()
        server = self._site.run(f"peer-{name}", [str(programs_ / "python"), "server.py", str(port)], given, folder)
        url = f"http://127.0.0.1:{port}/echo/1"
        _await(server, lambda: fetch(url).status == 200)
        return Side(url, server, [worker])


def check(sides: Sequence[Side], seconds: int) -> None:
    """Ask each side 100 times a second, with a number each time; raises Missing when an answer is wrong or late."""
    # Not by a POST: under load alone its body is compared.
    urls = [side.url.rpartition("/")[0] for side in sides if side.body is None]
    arrivals = [Arrivals(url, rate=100, seconds=seconds, users=50, numbers=True) for url in urls]
    for came in [one.result() for one in arrivals]:
        if wrong := came.failed + came.unsent:
            raise Missing(f"{wrong} of {seconds * 100} answers were wrong, late or none")


def measure(site: Site, side: Side, seconds: int) -> Round:
    """Requests per second of one side, and what they cost."""
    parts = dict(zip(PARTS, ([side.server], side.workers, site.broker())))
    before = {part: cpu(*processes) for part, processes in parts.items()}
    measured = wrk(side.url, connections=_CONNECTIONS, seconds=seconds, expected=side.expected, body=side.body)
    used = {part: cpu(*processes) - before[part] for part, processes in parts.items()}
    each = {part: seconds_ / max(1, measured.requests) * 1e6 for part, seconds_ in used.items()}
    megabytes = {part: sum(map(memory, processes)) for part, processes in parts.items()}
    return Round(measured, each, megabytes)


class Pair:
    """A peer and our own side: both started, measured in turn, and stopped before the next pair.

    Args:
        site: where they run.
        name: the peer's.
        quick: fewer rounds, and shorter ones.
    """

    def __init__(self, site: Site, name: str, quick: bool) -> None:
        self._site = site
        self._name = name
        self._quick = quick
        self._seconds = 1 if quick else 3
        self._sides: tuple[Side, Side] | None = None

    def steps(self) -> list[Step]:
        """All of it."""
        settings = 16.0 if self._name in ("executor", "polling") and not self._quick else 0.0
        found = [Step(f"{self._name}: start", (7.0 if self._quick else 12.0) + settings, self._start)]
        for number in range(2 if self._quick else 5):
            measure_ = partial(self._measure, number)
            found.append(Step(f"{self._name}: round {number}", 2 * self._seconds + 0.6, measure_))
        return [*found, Step(f"{self._name}: stop", 2.0, lambda _: self._site.clear())]

    def _start(self, results: Results) -> None:
        sides = Sides(self._site, self._quick)
        try:
            theirs, ours = sides.start(self._name), sides.start(LEAN)
            check((ours, theirs), 1 if self._quick else 4)
            for side in (ours, theirs):
                measure(self._site, side, 1)
        except (Missing, LoadError) as error:
            results.missing[self._name] = str(error)
        else:
            self._sides = ours, theirs
            results.how[self._name] = theirs.how

    def _measure(self, number: int, results: Results) -> None:
        if self._sides is None:
            return
        ours, theirs = (partial(self._round, side) for side in self._sides)
        results.peers.setdefault(self._name, []).append(turn(number, ours, theirs))

    def _round(self, side: Side) -> dict[str, Any]:
        return measure(self._site, side, self._seconds).document()
