"""What metrics cost."""

import time
from functools import partial
from typing import NamedTuple

from deploy.local.process import Process, free_port
from tests.bench.ratio import Ratio, alternate
from tests.bench.site import OURS, THREADS, Site, cpu
from tests.bench.tools import good, wrk
from tests.http import fetch

_SCRAPE_INTERVAL = 15.0  # seconds, as deploy/metrics/prometheus.yml has it
_STARTS, _ROUNDS = 2, 4  # of both sides, and of each start
_NAMES = ("with metrics", "without")
_TIMED, _MEASURED = "nowait.worker.backend:TimedTask", "tasks.metrics.task:MeasuredTask"


def metrics(site: Site, quick: bool) -> list[Ratio]:
    """CPU and answers a second of server and worker for a task that returns its argument, with metrics and without."""
    scrapes = Scrapes()
    found = []
    # Two processes of one program differ by as much as metrics cost: there are several of each.
    for number in range(1 if quick else _STARTS):
        sides = {name: _started(site, name) for name in (_NAMES if number % 2 else _NAMES[::-1])}
        for each in sides.values():
            _measure(each, scrapes)
        one, other = (partial(_measure, sides[name], scrapes) for name in _NAMES)
        found += alternate(2 if quick else _ROUNDS, one, other)
        site.clear()
    costs, rates = ([(one[which], other[which]) for one, other in found] for which in (0, 1))
    return [
        Ratio("CPU of server and worker per answer", _NAMES, "µs", costs, ("at most", 1.03)),
        Ratio("answers a second", _NAMES, "/s", rates),
    ]


class Side(NamedTuple):
    """One side.

    Attributes:
        processes: its server and its worker.
        url: of the server.
        scraped: the URL of its metrics; None for a side without.
    """

    processes: tuple[Process, Process]
    url: str
    scraped: str | None


class Scrapes:
    """When metrics were scraped last."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def scrape(self, url: str) -> None:
        """Scrape them, if it is time."""
        if time.monotonic() - self._last >= _SCRAPE_INTERVAL:
            self._last = time.monotonic()
            assert fetch(url).status == 200


def _started(site: Site, name: str) -> Side:
    port, queue = free_port(), f"bench.{name.partition(' ')[0]}"
    measured = {"metrics": f"127.0.0.1:{port}"} if name == _NAMES[0] else {}
    counted = {"test_metrics": 1, "test_task": _MEASURED} if measured else {"test_task": _TIMED}
    options = OURS.options("threads", THREADS)
    worker = site.worker("tests.celeryapp", queue, *options, "-Q", queue, **OURS.settings, **counted)
    server, url = site.server(f"echo-{queue}", "/echo/1", "tests.bench.echo", "PORT", test_queue=queue, **measured)
    return Side((server, worker), url, f"http://127.0.0.1:{port}/metrics" if measured else None)


def _measure(side: Side, scrapes: Scrapes) -> tuple[float, float]:
    """Microseconds of CPU per answer, and answers a second."""
    before = cpu(*side.processes)
    load = good(wrk(f"{side.url}/echo/1", connections=50, seconds=1, expected="1"))
    if side.scraped is not None:
        scrapes.scrape(side.scraped)
    return (cpu(*side.processes) - before) / load.requests * 1e6, load.per_second


MEASUREMENTS = (metrics,)
