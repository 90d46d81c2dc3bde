"""The same query with answers of different sizes: how many requests, and how late what has nothing to do comes."""

import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.bench import variants
from tests.bench.results import Results, Step
from tests.bench.site import ROOT, Site
from tests.bench.tools import NOW, Arrivals, LoadError, good, wrk
from tests.http import fetch

SIDES = ("threads", "aiomysql", "asyncmy", "bridge")
# The flag of the sample data, the connections that fetch it, and for how many seconds, by the number of rows.
SIZES = {0: (10, 50, 2), 10: (1, 50, 2), 500: (6, 50, 2), 6119: (9, 8, 4)}
# What the ratio of the requests per second of the bridge by another side should be at least, by number of rows.
BOUNDS: dict[str, dict[int, float]] = {
    "aiomysql": {0: 1.0, 10: 1.5, 500: 5.0, 6119: 8.0},
    "asyncmy": {500: 1.0, 6119: 1.0},
}
LATE_BOUND = 1.5  # that p99 of /i_want_you_now should have at most, beside it idle
LARGE = "16 MB"  # of a query of its own, which only the workers have
_FETCHING = 4  # connections that fetch while the latency is measured
_RATE = 100  # requests of /i_want_you_now a second
_WORKERS, _THREADS = 2, 16  # of short queries, more threads only wait for one another
_BRIDGE = f"the bridge, {_WORKERS} workers with {_THREADS} threads"
TITLES = {**{name: variants.TITLES[name] for name in SIDES}, "bridge": _BRIDGE}
_HERE = Path(__file__).parent


class Sizes:
    """The steps that measure the sizes.

    Args:
        site: where they run.
        names: which sides.
        quick: fewer and shorter.
    """

    def __init__(self, site: Site, names: Sequence[str], quick: bool) -> None:
        self._site = site
        self._names = names
        self._quick = quick
        self._url = ""

    def steps(self) -> list[Step]:
        """All of it; the sides take turns, size by size."""
        if not self._names:
            return []
        found = [Step("sizes: start", 5.0, self._start)]
        for rows in (500,) if self._quick else SIZES:
            for number in range(1 if self._quick else 2):
                names = self._names[::-1] if number % 2 else self._names
                found += [
                    Step(f"{rows} rows, {name}", SIZES[rows][2] + 0.6, partial(self._throughput, name=name, rows=rows))
                    for name in names
                ]
        found.append(Step("latency, idle", 4.0, partial(self._latency, name="idle", size="", path=None)))
        for rows in (6119,) if self._quick else SIZES:
            for name in self._names:
                path = self._path(name, rows)
                found.append(
                    Step(f"latency, {rows} rows, {name}", 4.3,
                         partial(self._latency, name=name, size=f"{rows:,} rows", path=path))
                )  # fmt: skip
        if "bridge" in self._names:
            path = "/queries/large"
            found.append(Step(f"latency, {LARGE}", 7.0, partial(self._latency, name="bridge", size=LARGE, path=path)))
        return [*found, Step("sizes: stop", 2.0, lambda _: self._site.clear())]

    def _path(self, name: str, rows: int) -> str:
        return f"{variants.PATHS[name]}/mysql_query/{SIZES[rows][0]}"

    def _start(self, _: Results) -> None:
        """A worker for each core, which have the query of the 16 MB besides, and a server."""
        folder = self._site.folder / "queries"
        folder.mkdir(exist_ok=True)
        for file in [*(ROOT / "tasks/sql").iterdir(), *(_HERE / "sql").iterdir()]:
            shutil.copy(file, folder)
        for _worker in range(_WORKERS):
            self._site.query_worker(folder, _THREADS)
        _, self._url = self._site.server("server-sizes", "/readyz", "server", demo=1, timeout=60)

    def _throughput(self, results: Results, name: str, rows: int) -> None:
        _, connections, seconds = SIZES[rows]
        path = self._path(name, rows)
        # Byte by byte, once: the load generator only counts them.
        expected = fetch(self._url + path).body
        if expected != fetch(self._url + self._path("threads", rows)).body:
            raise LoadError(f"{path}: another answer than by threads")
        found = good(wrk(self._url + path, connections=connections, seconds=seconds, size=len(expected)))
        fetch(self._url + path)  # behind what the load has left to do
        cells = results.sizes.setdefault(str(rows), {"bytes": len(expected), "connections": connections, "sides": {}})
        cells["sides"].setdefault(name, []).append(found.per_second)

    def _latency(self, results: Results, name: str, size: str, path: str | None) -> None:
        with self._fetching(path):
            came = Arrivals(f"{self._url}/i_want_you_now", rate=_RATE, seconds=3, users=300, expected=NOW).result()
        if came.failed or came.unsent:
            raise LoadError(f"/i_want_you_now beside {path}: {came.failed} failed, {came.unsent} not sent")
        p50, p99, most = came.percentiles(50, 99, 100)
        results.beside.append({"side": name, "size": size, "p50": p50, "p99": p99, "most": most})

    @contextmanager
    def _fetching(self, path: str | None) -> Iterator[None]:
        """Fetch a path all the while, by some connections; None for nothing."""
        if path is None:
            yield
            return
        size = len(fetch(self._url + path).body)
        load = partial(wrk, self._url + path, connections=_FETCHING, seconds=4, size=size)
        thread = threading.Thread(target=load)
        thread.start()
        try:
            yield
        finally:
            thread.join()
