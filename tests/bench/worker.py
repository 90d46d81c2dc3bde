"""The figures of the workers."""

import asyncio
import signal
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from deploy.local.process import Process
from nowait.bridge import Bridge, Call
from tests.bench.bridge import OnLoop
from tests.bench.ratio import Ratio, Table, alternate
from tests.bench.site import OURS, STOCK, THREADS, Kind, Site, cpu, memory

Figures = dict[str, float]
_RATE, _WORKER, _BROKER = "tasks/s", "CPU of the worker per task", "CPU of the broker per task"
_KINDS = (OURS, STOCK)


class Workers:
    """Workers of one kind that share a queue, and work off what waits in it.

    Args:
        site: where they run.
        kind: theirs.
        pool: Celery's name of their pool.
        concurrency: of each of them.
    """

    def __init__(self, site: Site, kind: Kind, pool: str, concurrency: int) -> None:
        self._site = site
        self._kind = kind
        self._queue = f"bench.{pool}.{kind.name}"
        self._pool = pool
        self._concurrency = concurrency
        self._running: list[Process] = []

    def grow(self, count: int) -> None:
        """Start more, up to so many."""
        while len(self._running) < count:
            self._running.append(self._site.echo_worker(self._kind, self._queue, self._pool, self._concurrency))

    def work_off(self, on_loop: OnLoop, tasks: int) -> Figures:
        """Send tasks while all workers stand still, and let them go: the sender leaves the CPU to them.

        The CPU of the broker is that of the whole way, from the message that is sent to the reply that has arrived.
        """
        broker = self._site.broker()
        before = cpu(*self._running), cpu(*broker)
        self._signal(signal.SIGSTOP)
        try:
            calls = on_loop.run(self._send(on_loop.bridge, tasks))
        finally:
            self._signal(signal.SIGCONT)
        started = time.perf_counter()
        answers = on_loop.run(_all(calls))
        seconds = time.perf_counter() - started
        assert answers == list(range(tasks)), "answers went to the wrong callers"
        worker, broker_ = (cpu(*side) - used for side, used in zip((self._running, broker), before))
        return {_RATE: tasks / seconds, _WORKER: worker / tasks * 1e6, _BROKER: broker_ / tasks * 1e6}

    def _signal(self, number: int) -> None:
        for worker in self._running:
            worker.signal(number)

    async def _send(self, bridge: Bridge, tasks: int) -> list[Call]:
        calls = [bridge.send_task("test.echo", [number], queue=self._queue) for number in range(tasks)]
        while bridge.statistics().unconfirmed > 1:
            await asyncio.sleep(0.002)
        return calls


async def _all(calls: Sequence[Call]) -> list[Any]:
    return await asyncio.gather(*calls)


def tasks_threads(site: Site, quick: bool) -> list[Ratio]:
    """Tasks per second, and CPU of worker and broker, of one worker process with threads, against a stock one."""
    bounds = {_RATE: ("at least", 3.0), _WORKER: ("at most", 0.25), _BROKER: ("at most", 0.5)}
    return _compared(site, quick, "threads", THREADS, bounds)


def tasks_solo(site: Site, quick: bool) -> list[Ratio]:
    """The same with the pool solo."""
    return _compared(site, quick, "solo", 1, {_WORKER: ("at most", 0.5)})


def tasks_prefork(site: Site, quick: bool) -> list[Ratio]:
    """The same with the pool prefork."""
    return _compared(site, quick, "prefork", 2, {_RATE: ("at least", 1.3)})


def _compared(
    site: Site, quick: bool, pool: str, concurrency: int, bounds: Mapping[str, tuple[str, float]]
) -> list[Ratio]:
    kinds = [Workers(site, kind, pool, concurrency) for kind in _KINDS]
    for workers in kinds:
        workers.grow(1)
    rounds = _rounds(site, kinds, 2 if quick else 5, 500 if quick else 3000)
    ours, stock = (f"{kind.title}, {kind.prefetch} messages ahead" for kind in _KINDS)
    return [
        Ratio(
            f"{what}, pool {pool}", (ours, stock), "" if what == _RATE else "µs", [(a[what], b[what]) for a, b in rounds],
            bounds.get(what),
        )
        for what in (_RATE, _WORKER, _BROKER)
    ]  # fmt: skip


def _rounds(site: Site, kinds: Sequence[Workers], rounds: int, tasks: int) -> list[tuple[Figures, Figures]]:
    ours, stock = kinds
    with OnLoop(site.services.broker_url, max_in_flight=tasks, timeout=120.0) as on_loop:
        for workers in kinds:
            workers.work_off(on_loop, 200)
        return alternate(rounds, lambda: ours.work_off(on_loop, tasks), lambda: stock.work_off(on_loop, tasks))


def processes(site: Site, quick: bool) -> list[Table]:
    """Tasks per second of 1, 2 and 4 worker processes with threads, ours and stock ones."""
    kinds = [Workers(site, kind, "threads", THREADS) for kind in _KINDS]
    counts = (1, 2) if quick else (1, 2, 4)
    rows: dict[str, list[float]] = {kind.title: [] for kind in _KINDS}
    for count in counts:
        for workers in kinds:
            workers.grow(count)
        rounds = _rounds(site, kinds, 1 if quick else 3, 500 if quick else 3000)
        for kind, figures in zip(_KINDS, zip(*rounds)):
            rows[kind.title].append(statistics.median(one[_RATE] for one in figures))
    what = f"tasks/s of several worker processes with {THREADS} threads each"
    return [Table(what, [f"{count} process{'es' * (count > 1)}" for count in counts], rows)]


def pools(site: Site, quick: bool) -> list[Table]:
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
            on_loop.run(run(queue, [77], 50))
        for _ in range(1 if quick else 3):
            for queue in workers:
                for load, arguments in loads.items():
                    count = counts[load] // (8 if load == "100 ms" and queue.endswith((".1", ".2")) else 1)
                    started = time.perf_counter()
                    on_loop.run(run(queue, arguments, count))
                    figures[queue][load].append(count / (time.perf_counter() - started))
    rows = {}
    for queue, worker in workers.items():
        _, pool, concurrency = queue.split(".")
        medians = [statistics.median(figures[queue][load]) for load in loads]
        rows[f"{pool} {concurrency}"] = [*medians, memory(worker)]
    return [Table("queries of one worker, by pool", [*(f"{load}/s" for load in loads), "MB"], rows)]


MEASUREMENTS = (tasks_threads, tasks_solo, tasks_prefork, processes, pools)
