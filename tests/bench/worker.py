"""The figures of the workers."""

import asyncio
import time

from tests.bench.bridge import OnLoop
from tests.bench.ratio import Ratio, alternate
from tests.bench.site import Site


def lean_threads(site: Site, quick: bool) -> Ratio:
    """Tasks per second of a worker with threads and the lean result backend, against rpc://."""
    return _lean(site, quick, "threads", 8)


def lean_prefork(site: Site, quick: bool) -> Ratio:
    """Tasks per second of a worker with processes and the lean result backend, against rpc://."""
    return _lean(site, quick, "prefork", 2)


def _lean(site: Site, quick: bool, pool: str, concurrency: int) -> Ratio:
    calls = 500 if quick else 3000
    backends = {"lean": "tasks.results:Results", "rpc": "rpc://"}
    for name, backend in backends.items():
        queue = f"bench.{pool}.{name}"
        # Enough messages at hand that the worker is never without one.
        options = ("-P", pool, "-c", str(concurrency), "-Q", queue, "--prefetch-multiplier", "16")
        site.worker("tests.worker", queue, *options, test_backend=backend)
    with OnLoop(site.services.broker_url, max_in_flight=calls, timeout=120.0) as on_loop:

        async def run(queue: str) -> None:
            pending = [on_loop.bridge.send_task("test.echo", [number], queue=queue) for number in range(calls)]
            assert await asyncio.gather(*pending) == list(range(calls))

        def rate(name: str) -> float:
            started = time.perf_counter()
            on_loop.loop.run_until_complete(run(f"bench.{pool}.{name}"))
            return calls / (time.perf_counter() - started)

        rate("lean"), rate("rpc")
        figures = alternate(3 if quick else 7, lambda: rate("lean"), lambda: rate("rpc"))
    return Ratio(f"tasks, pool {pool}", ("lean backend", "rpc://"), "tasks/s", figures, ("at least", 1.3))


MEASUREMENTS = (lean_threads, lean_prefork)
