"""The metrics of a worker."""

from typing import Any

from celery.concurrency.prefork import TaskPool as ProcessPool
from prometheus_client import CollectorRegistry

from nowait.settings import HostPort
from tasks import queries
from tasks.jobs import worker as jobs
from tasks.metrics.children import share
from tasks.metrics.events import EventMetrics
from tasks.metrics.exposition import listen
from tasks.metrics.moment import MomentMetrics

_ENGINES = {"queries": queries.engine, "jobs": jobs.jobs_engine, "steps": jobs.steps_engine}


def begin(at: HostPort, worker: Any) -> None:
    """Count, and answer at an address, from now on; the worker's pool is not there yet."""
    registry = CollectorRegistry()
    forks = issubclass(worker.pool_cls, ProcessPool)
    if forks:
        share(registry)
    EventMetrics(None if forks else registry, forks)
    # The processes of a pool have their own connections.
    registry.register(MomentMetrics(worker, {} if forks else _ENGINES))
    listen(at, registry)
