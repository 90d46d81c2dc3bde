"""What a worker counts of its tasks."""

from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
from celery import Celery
from prometheus_client import CollectorRegistry, generate_latest

from tasks.metrics.events import EventMetrics
from tasks.metrics.scheduler import SchedulerMetrics
from tasks.metrics.task import MeasuredTask
from tasks.scheduler import Counts
from tests.metrics import Scrape


@pytest.fixture
def app() -> Celery:
    app = Celery("measured", broker="memory://", set_as_current=False, task_cls="tasks.metrics.task:MeasuredTask")

    @app.task(name="good", shared=False)
    def good() -> int:
        return 1

    @app.task(name="bad", shared=False)
    def bad() -> None:
        raise LookupError

    @app.task(name="again", shared=False, bind=True, max_retries=1)
    def again(self: Any) -> None:
        raise self.retry(countdown=0)

    return app


@pytest.fixture
def registry() -> Iterator[CollectorRegistry]:
    registry = CollectorRegistry()
    EventMetrics(registry, forks=False)
    yield registry
    MeasuredTask.ended = None


def read(registry: CollectorRegistry) -> Scrape:
    return Scrape(generate_latest(registry).decode())


@pytest.mark.parametrize(
    ("name", "outcomes"),
    [("good", {"succeeded": 1}), ("bad", {"failed": 1}), ("again", {"retried": 1, "failed": 1})],
)
def test_a_task_is_counted_by_what_became_of_it(
    app: Celery, registry: CollectorRegistry, name: str, outcomes: dict[str, int]
) -> None:
    app.tasks[name].apply()
    found = read(registry)
    assert {
        labels["outcome"]: found.of("nowait_tasks_total", **labels) for labels in found.labels("nowait_tasks_total")
    } == outcomes
    assert found.of("nowait_task_seconds_count", task=name) == sum(outcomes.values())


def test_tasks_of_many_threads_are_counted_though_nobody_reads_them(registry: CollectorRegistry) -> None:
    measured: Any = MeasuredTask

    def run() -> None:
        for _ in range(1000):
            measured.ended("good", "SUCCESS", None, 0.001)

    threads = [Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read(registry)
    assert found.of("nowait_tasks_total", task="good", outcome="succeeded") == 4000
    assert found.of("nowait_task_seconds_count", task="good") == 4000
    assert found.of("nowait_task_seconds_sum", task="good") == pytest.approx(4.0)


def test_a_task_that_nobody_measures_runs_as_any_other(app: Celery) -> None:
    assert app.tasks["good"].apply().get() == 1


def test_what_a_scheduler_has_done_is_read_when_somebody_wants_it() -> None:
    class Scheduler:
        counts = Counts(last_pass=1000.5, passes=3, failures=2, jobs=4)

    registry = CollectorRegistry()
    scheduler: Any = Scheduler()
    registry.register(SchedulerMetrics(scheduler))
    Scheduler.counts.jobs = 5
    found = read(registry)
    assert found["nowait_scheduler_last_pass_timestamp_seconds"] == 1000.5
    assert found.of("nowait_scheduler_passes_total", outcome="failed") == 2
    assert found["nowait_scheduler_jobs_total"] == 5
