"""The figures of the workers."""

import json
import signal
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import kombu
from celery import Celery

from deploy.local.process import Process
from tests.bench.bridge import OnLoop
from tests.bench.ratio import Ratio, Table, alternate
from tests.bench.site import OURS, STOCK, THREADS, Kind, Site, cpu, memory
from tests.bench.tools import LoadError

Figures = dict[str, float]
_RATE, _WORKER, _BROKER = "tasks", "CPU of the worker per task", "CPU of the broker per task"
_UNITS = {_RATE: "tasks/s", _WORKER: "µs", _BROKER: "µs"}
_KINDS = (OURS, STOCK)
_REPLIES = "bench.replies"


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

    def work_off(self, tasks: int) -> Figures:
        """Send tasks while all workers stand still, let them go, and fetch the replies once all are there.

        So neither sender nor caller takes CPU from them. The broker's CPU is that of the whole way.
        """
        broker = self._site.broker()
        before = cpu(*self._running), cpu(*broker)
        with kombu.Connection(self._site.services.broker_url) as connection:
            channel: Any = connection.default_channel
            channel.queue_declare(_REPLIES, durable=True, auto_delete=False)
            self._signal(signal.SIGSTOP)
            try:
                _send(connection, self._queue, tasks)
            finally:
                self._signal(signal.SIGCONT)
            started = time.perf_counter()
            while channel.queue_declare(_REPLIES, passive=True).message_count < tasks:
                time.sleep(0.005)
            seconds = time.perf_counter() - started
            _check(connection, tasks)
        worker, broker_ = (cpu(*side) - used for side, used in zip((self._running, broker), before))
        return {_RATE: tasks / seconds, _WORKER: worker / tasks * 1e6, _BROKER: broker_ / tasks * 1e6}

    def _signal(self, number: int) -> None:
        for worker in self._running:
            worker.signal(number)


def _send(connection: kombu.Connection, queue: str, tasks: int) -> None:
    app = Celery("bench", set_as_current=False)
    with app.amqp.Producer(connection) as producer:
        for number in range(tasks):
            message = app.amqp.as_task_v2(str(number), "test.echo", [number], reply_to=_REPLIES)
            producer.publish(message.body, routing_key=queue, headers=message.headers, **message.properties)


def _check(connection: kombu.Connection, tasks: int) -> None:
    """Fetch the replies. Raises LoadError unless there is one for each task, with its number."""
    found: dict[str, Any] = {}

    def receive(message: Any) -> None:
        found[message.properties["correlation_id"]] = json.loads(message.body)["result"]

    channel: Any = connection.default_channel
    channel.basic_consume(_REPLIES, no_ack=True, callback=receive)
    while len(found) < tasks:
        connection.drain_events(timeout=10)
    if found != {str(number): number for number in range(tasks)}:
        raise LoadError("there are replies that are wrong")


def tasks_threads(site: Site, quick: bool) -> list[Ratio]:
    """Tasks per second, and CPU of worker and broker, of one worker process with threads, against a stock one."""
    return _compared(site, quick, "threads", THREADS, {_RATE: ("at least", 3.0), _WORKER: ("at most", 0.25)})


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
    rounds = _rounds(kinds, 2 if quick else 4, 500 if quick else 4000)
    ours, stock = (f"{kind.title}, {kind.prefetch} messages ahead" for kind in _KINDS)
    return [
        Ratio(
            f"{what}, pool {pool}", (ours, stock), unit, [(first[what], second[what]) for first, second in rounds],
            bounds.get(what),
        )
        for what, unit in _UNITS.items()
    ]  # fmt: skip


def _rounds(kinds: Sequence[Workers], rounds: int, tasks: int) -> list[tuple[Figures, Figures]]:
    ours, stock = kinds
    ours.work_off(200), stock.work_off(200)
    return alternate(rounds, lambda: ours.work_off(tasks), lambda: stock.work_off(tasks))


def processes(site: Site, quick: bool) -> list[Table]:
    """Tasks per second of 1, 2 and 4 worker processes with threads, ours and stock ones."""
    kinds = [Workers(site, kind, "threads", THREADS) for kind in _KINDS]
    counts = (1, 2) if quick else (1, 2, 4)
    rows: dict[str, list[float]] = {kind.title: [] for kind in _KINDS}
    for count in counts:
        for workers in kinds:
            workers.grow(count)
        rounds = _rounds(kinds, 1 if quick else 2, 500 if quick else 4000)
        for kind, figures in zip(_KINDS, zip(*rounds)):
            rows[kind.title].append(statistics.median(one[_RATE] for one in figures))
    what = f"tasks/s of several worker processes with {THREADS} threads each"
    return [Table(what, [f"{count} process{'es' * (count > 1)}" for count in counts], rows)]


def pools(site: Site, quick: bool) -> list[Table]:
    """Queries per second, and memory, of a worker of each pool: short ones, long rows, and waiting ones."""
    loads: dict[str, list[float]] = {"short": [77], "500 rows": [6], "100 ms": [77, 0.1]}
    counts = {"short": 300, "500 rows": 30, "100 ms": 32} if quick else {"short": 2000, "500 rows": 100, "100 ms": 160}
    rows = {}
    for pool, concurrency in (("prefork", 2), ("prefork", 16), ("threads", 16), ("gevent", 16), ("solo", 1)):
        queue = f"bench.{pool}.{concurrency}"
        worker = site.worker("tasks", queue, "-P", pool, "-c", str(concurrency), "-Q", queue)
        with OnLoop(site.services.broker_url, max_in_flight=10_000, timeout=300.0) as on_loop:
            on_loop.timed("task.query_users", loads["short"], queue, 50)
            figures: dict[str, list[float]] = {load: [] for load in loads}
            for _ in range(1 if quick else 2):
                for load, arguments in loads.items():
                    # As long for a worker that waits for one or two at a time.
                    count = counts[load] // (8 if load == "100 ms" and concurrency <= 2 else 1)
                    figures[load].append(count / on_loop.timed("task.query_users", arguments, queue, count))
        rows[f"{pool} {concurrency}"] = [*map(statistics.median, figures.values()), memory(worker)]
        site.clear()
    return [Table("queries of one worker, by pool", [*(f"{load}/s" for load in loads), "MB"], rows)]


MEASUREMENTS = (tasks_threads, tasks_solo, tasks_prefork, processes, pools)
