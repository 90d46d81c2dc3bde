"""The same query behind the same server, in several ways: how many requests, how late, and at whose cost."""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from deploy.local.process import Process
from tests import programs
from tests.bench.results import Results, Step
from tests.bench.site import Site
from tests.bench.tools import NOW, Arrivals, ab, siege, wrk
from tests.http import fetch

TITLES = {
    "blocking": "blocking in the handler",
    "threads": "32 threads of the server",
    "aiomysql": "aiomysql, 100 connections",
    "asyncmy": "asyncmy, 100 connections",
    "bridge": "the bridge, worker with 100 threads",
}
PATHS = {name: "" if name == "bridge" else f"/{name}" for name in TITLES}
_PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0)
_RATE = 50  # requests a second of the open loads
_SLOW = 5  # slow queries at once, of one second each
BEFORE = 2.0  # seconds of the isolation until the slow queries


class Variants:
    """The steps that measure the variants.

    Args:
        site: where they run.
        names: which of them.
        quick: fewer and shorter.
    """

    def __init__(self, site: Site, names: Sequence[str], quick: bool) -> None:
        self._site = site
        self._names = names
        self._quick = quick
        self._running: tuple[Process, str] | None = None

    def steps(self) -> list[Step]:
        """All of it, from the start of the worker on."""
        found = [Step("variants: start", 3.0, lambda _: self._site.query_worker())]
        found += self._isolation_steps() + self._throughput_steps()
        if not self._quick:
            found += self._classic_steps() + self._latency_steps()
        return [*found, Step("variants: stop", 2.0, self._end)]

    def _end(self, _: Results) -> None:
        self._stop()
        self._site.clear()

    @contextmanager
    def _server(self, last: bool = True) -> Iterator[str]:
        """A server for a measurement, its `last` one if it leaves behind what must not wait for the next."""
        if self._running is None:
            settings = {"demo": 1, "max_in_flight": 2000, "timeout": 60}
            self._running = self._site.server("server-variants", "/readyz", "server", **settings)
        try:
            yield self._running[1]
        finally:
            if last:
                self._stop()

    def _stop(self) -> None:
        """Stop the server, and forget what it has sent."""
        if self._running is not None:
            self._running[0].kill()
            self._running = None
            self._site.purge("queries")

    def _throughput_steps(self) -> list[Step]:
        """Requests per second, by delay and number of connections."""
        delays = (0.1,) if self._quick else (0.0, 0.1, 1.0)
        connections = (50,) if self._quick else (1, 10, 100, 1000)
        return [
            self._step(
                f"{name}, {delay:g} s, {count} connections", self._cell, name, delay, count,
                seconds=6.5 if delay == 1 else 3.0,
            )
            for delay in delays
            for count in connections
            for name in self._names
        ]  # fmt: skip

    def _step(self, what: str, measure: Callable[..., None], *arguments: object, seconds: float) -> Step:
        return Step(what, seconds, lambda results: measure(results, *arguments))

    def _cell(self, results: Results, name: str, delay: float, connections: int) -> None:
        seconds = 1 if self._quick else 5 if delay == 1 else 2
        # A second's worth of queries waits behind the last of them.
        with self._server(last=delay * connections >= (0.5 if name == "blocking" else 20)) as url:
            expected = fetch(f"{url}/threads/mysql_query/0").body.decode()
            path = f"{url}{PATHS[name]}/mysql_query/0"
            if connections > 1 and not self._quick:
                # Connections and pools are there before it counts.
                wrk(path, connections=min(connections, 50), seconds=1, expected=expected)
            found = wrk(f"{path}?delay={delay:g}", connections=connections, seconds=seconds, expected=expected)
        results.cells.append(
            {"variant": name, "delay": delay, "connections": connections, "per_second": found.per_second,
             "p50": found.p50, "p99": found.p99, "failed": found.failed, "wrong": found.wrong,
             "timeouts": found.timeouts}
        )  # fmt: skip

    def _classic_steps(self) -> list[Step]:
        """The same by the classic tools."""
        return [
            self._step(f"{name} by ab and siege", self._classic, name, seconds=12.0 if name == "blocking" else 2.5)
            for name in self._names
        ]

    def _classic(self, results: Results, name: str) -> None:
        with self._server() as url:
            path = f"{url}{PATHS[name]}/mysql_query/0?delay=0.1"
            ab(path, connections=10, requests=10)
            results.classic[name] = {
                "ab -n 50 -c 10": ab(path, connections=10, requests=50),
                "siege -c10 -r5": siege(path, connections=10, repetitions=5),
            }

    def _latency_steps(self) -> list[Step]:
        """Percentiles at a constant rate."""
        return [self._step(f"latency, {name}", self._latency, name, seconds=10.0) for name in self._names]

    def _latency(self, results: Results, name: str) -> None:
        with self._server() as url:
            path = f"{url}{PATHS[name]}/mysql_query/0"
            expected = fetch(path).body.decode()
            wrk(path, connections=20, seconds=1, expected=expected)
            seconds = 3.0 if self._quick else 8.0
            came = Arrivals(f"{path}?delay=0.01", rate=_RATE, seconds=seconds, expected=expected).result()
        found = came.percentiles(*_PERCENTILES)
        results.latency[name] = {f"{percentile:g}": value for percentile, value in zip(_PERCENTILES, found)}
        results.latency[name]["failed"] = came.failed + came.unsent

    def _isolation_steps(self) -> list[Step]:
        """The latency of what has nothing to do while slow queries run, second by second."""
        seconds = 7.5 if self._quick else 13.0
        return [self._step(f"isolation, {name}", self._isolation, name, seconds=seconds) for name in self._names]

    def _isolation(self, results: Results, name: str) -> None:
        with self._server() as url:
            seconds = BEFORE + (4.0 if self._quick else 10.0)
            arrivals = Arrivals(f"{url}/i_want_you_now", rate=_RATE, seconds=seconds, users=600, expected=NOW)
            time.sleep(BEFORE)
            path = f"{url}{PATHS[name]}/mysql_query/0?delay=1"
            command = [programs.path("ab"), "-q", "-n", str(_SLOW), "-c", str(_SLOW), "-s", "60", path]
            slow = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            came = arrivals.result()
            slow.wait()
        if came.failed or came.unsent:
            results.failed[f"isolation, {name}"] = f"{came.failed} failed, {came.unsent} not sent"
        results.isolation[name] = list(came.answers)
