"""What metrics cost."""

import time

from deploy.local.process import Process, free_port
from tests.bench.ratio import Ratio, alternate
from tests.bench.site import OURS, THREADS, Site, cpu
from tests.bench.tools import good, wrk
from tests.http import fetch

_SCRAPE_INTERVAL = 15.0  # seconds, as deploy/metrics/prometheus.yml has it
_TIMED, _MEASURED = "nowait.worker.backend:TimedTask", "tasks.metrics.task:MeasuredTask"


def metrics(site: Site, quick: bool) -> list[Ratio]:
    """CPU and answers a second of server and worker for a task that returns its argument, with metrics and without."""
    seconds = 1
    sides, last = {}, time.monotonic()
    for name in ("with metrics", "without"):
        port, queue = free_port(), f"bench.{name.partition(' ')[0]}"
        measured = {"metrics": f"127.0.0.1:{port}"} if name == "with metrics" else {}
        counted = {"test_metrics": 1, "test_task": _MEASURED} if measured else {"test_task": _TIMED}
        options = OURS.options("threads", THREADS)
        worker = site.worker(
            "tests.celeryapp", queue, *options, "-Q", queue, **OURS.settings, **counted
        )
        server, url = site.server(
            f"echo-{queue}", "/echo/1", "tests.bench.echo", "PORT", test_queue=queue, **measured
        )
        sides[name] = (server, worker), url, f"http://127.0.0.1:{port}/metrics" if measured else None

    def measure(name: str) -> tuple[float, float]:
        nonlocal last
        processes: tuple[Process, ...]
        processes, url, scraped = sides[name]
        before = cpu(*processes)
        load = good(wrk(f"{url}/echo/1", connections=50, seconds=seconds, expected="1"))
        if scraped is not None and time.monotonic() - last >= _SCRAPE_INTERVAL:
            last = time.monotonic()
            assert fetch(scraped).status == 200
        return (cpu(*processes) - before) / load.requests * 1e6, load.per_second

    for name in sides:
        measure(name)
    found = alternate(2 if quick else 9, lambda: measure("with metrics"), lambda: measure("without"))
    costs, rates = ([(one[which], other[which]) for one, other in found] for which in (0, 1))
    names = ("with metrics", "without")
    return [
        Ratio("CPU of server and worker per answer", names, "µs", costs, ("at most", 1.03)),
        Ratio("answers a second", names, "/s", rates),
    ]


MEASUREMENTS = (metrics,)
