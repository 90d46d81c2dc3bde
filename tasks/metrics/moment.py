"""Metrics of what is true of a worker at a moment: read when somebody asks for them."""

from collections.abc import Iterator, Mapping
from typing import Any

from celery.worker import state
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine


class MomentMetrics(Collector):
    """Reads a worker.

    Args:
        worker: Celery's.
        engines: the pools of connections to the database that its threads use, by what for.
    """

    def __init__(self, worker: Any, engines: Mapping[str, Engine]) -> None:
        self._worker = worker
        self._engines = engines

    def collect(self) -> Iterator[Metric]:
        """All of it."""
        running = len(state.active_requests)
        tasks = GaugeMetricFamily("nowait_worker_tasks", "Tasks that a worker has, by state", labels=["state"])
        tasks.add_metric(["running"], running)
        tasks.add_metric(["waiting"], max(0, len(state.reserved_requests) - running))
        yield tasks
        yield GaugeMetricFamily("nowait_worker_concurrency", "Tasks that it runs at once", value=self._concurrency)
        consumer = getattr(self._worker, "consumer", None)
        intake = getattr(consumer, "intake", None)
        connected = _is_connected(consumer) if intake is None else intake.connected
        yield GaugeMetricFamily("nowait_worker_connected", "1 while it has the broker", value=connected)
        replies = 0 if intake is None else intake.replies
        yield GaugeMetricFamily("nowait_worker_replies_outstanding", "Replies that are not confirmed", value=replies)
        pools = GaugeMetricFamily(
            "nowait_worker_database_connections", "Connections to the database in use, by what for", labels=["pool"]
        )
        for name, engine in self._engines.items():
            pool: Any = engine.pool
            pools.add_metric([name], pool.checkedout())
        yield pools

    @property
    def _concurrency(self) -> float:
        pool = getattr(self._worker, "pool", None)
        return float(getattr(pool, "num_processes", None) or self._worker.concurrency)


def _is_connected(consumer: Any) -> bool:
    """Celery's own way: it has one connection for all."""
    connection = getattr(consumer, "connection", None)
    return bool(connection is not None and connection.connected)
