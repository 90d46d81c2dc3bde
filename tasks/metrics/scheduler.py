"""The metrics of a scheduler."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from nowait.settings import HostPort
from tasks.metrics.exposition import listen
from tasks.scheduler import DatabaseScheduler


class SchedulerMetrics(Collector):
    """Reads a scheduler when somebody asks for it."""

    def __init__(self, scheduler: DatabaseScheduler) -> None:
        self._scheduler = scheduler

    def collect(self) -> Iterator[Metric]:
        """All of it."""
        counts = self._scheduler.counts
        yield GaugeMetricFamily(
            "nowait_scheduler_last_pass_timestamp_seconds",
            "When schedules were looked at last with success, since the epoch; 0 for never",
            value=counts.last_pass,
        )
        passes = CounterMetricFamily("nowait_scheduler_passes", "Looks at schedules, by outcome", labels=["outcome"])
        passes.add_metric(["succeeded"], counts.passes)
        passes.add_metric(["failed"], counts.failures)
        yield passes
        yield CounterMetricFamily("nowait_scheduler_jobs", "Jobs that it has made", value=counts.jobs)


def begin(at: HostPort, scheduler: DatabaseScheduler) -> None:
    """Answer at an address from now on."""
    registry = CollectorRegistry()
    registry.register(SchedulerMetrics(scheduler))
    listen(at, registry)
