"""The figures of the workers."""

import asyncio
import statistics
import time

from tests.bench.bridge import OnLoop
from tests.bench.ratio import Ratio, Table, alternate
from tests.bench.site import Site, memory


def lean_threads(site: Site, quick: bool) -> Ratio:
    """Tasks per second of a worker with threads and the lean result backend, against rpc://."""
    return _lean(site, quick, "threads", 8)


def lean_prefork(site: Site, quick: bool) -> Ratio:
    """Tasks per second of a worker with processes and the lean result backend, against rpc://."""
    return _lean(site, quick, "prefork", 2)


def _lean(site: Site, quick: bool, pool: str, concurrency: int) -> Ratio:
    calls = 500 if quick else 2000
    backends = {"lean": "nowait.worker:Results", "rpc": "rpc://"}
    for name, backend in backends.items():
        queue = f"bench.{pool}.{name}"
        # Enough messages at hand that the worker is never without one.
        options = ("-P", pool, "-c", str(concurrency), "-Q", queue, "--prefetch-multiplier", "16")
        site.worker("tests.celeryapp", queue, *options, test_backend=backend)
    with OnLoop(site.services.broker_url, max_in_flight=calls, timeout=120.0) as on_loop:

        async def run(queue: str) -> None:
            pending = [on_loop.bridge.send_task("test.echo", [number], queue=queue) for number in range(calls)]
            assert await asyncio.gather(*pending) == list(range(calls))

        def rate(name: str) -> float:
            started = time.perf_counter()
            on_loop.loop.run_until_complete(run(f"bench.{pool}.{name}"))
            return calls / (time.perf_counter() - started)

        rate("lean"), rate("rpc")
        figures = alternate(2 if quick else 5, lambda: rate("lean"), lambda: rate("rpc"))
    return Ratio(f"tasks, pool {pool}", ("lean backend", "rpc://"), "tasks/s", figures, ("at least", 1.3))


def pools(site: Site, quick: bool) -> Table:
    """Queries per second, and memory, of a worker of each pool: short ones, long rows, and waiting ones."""
    workers = {}
    for pool, concurrency in (("prefork", 2), ("prefork", 16), ("threads", 16), ("gevent", 16), ("solo", 1)):
        queue = f"bench.{pool}.{concurrency}"
        options = ("-P", pool, "-c", str(concurrency), "-Q", queue)
        workers[queue] = site.worker("tasks", queue, *options)
    loads: dict[str, list[float]] = {"short": [77], "500 rows": [6], "100 ms": [77, 0.1]}
    counts = {"short": 300, "500 rows": 30, "100 ms": 32} if quick else {"short": 2000, "500 rows": 100, "100 ms": 160}
    figures: dict[str, dict[str, list[float]]] = {queue: {load: [] for load in loads} for queue in workers}
    with OnLoop(site.services.broker_url, max_in_flight=10_000, timeout=300.0) as on_loop:

        async def run(queue: str, arguments: list[float], count: int) -> None:
            calls = [on_loop.bridge.send_task("task.query_users", arguments, queue=queue) for _ in range(count)]
            await asyncio.gather(*calls)

        for queue in workers:
            on_loop.loop.run_until_complete(run(queue, [77], 50))
        for _ in range(1 if quick else 3):
            for queue in workers:
                for load, arguments in loads.items():
                    count = counts[load] // (8 if load == "100 ms" and queue.endswith((".1", ".2")) else 1)
                    started = time.perf_counter()
                    on_loop.loop.run_until_complete(run(queue, arguments, count))
                    figures[queue][load].append(count / (time.perf_counter() - started))
    rows = {}
    for queue, worker in workers.items():
        _, pool, concurrency = queue.split(".")
        medians = [statistics.median(figures[queue][load]) for load in loads]
        rows[f"{pool} {concurrency}"] = [*medians, memory(worker)]
    return Table("queries of one worker, by pool", [*(f"{load}/s" for load in loads), "MB"], rows)


MEASUREMENTS = (lean_threads, lean_prefork, pools)
