"""Metrics of what happens in a worker."""

import os
from typing import Any

from celery import signals
from prometheus_client import CollectorRegistry, Counter, Histogram

from tasks.metrics.task import MeasuredTask

_OUTCOMES = {"SUCCESS": "succeeded", "FAILURE": "failed", "RETRY": "retried"}
_OTHER = "other"
_LOST = "lost"
_RUN_JOB = "task.run_job"
_NOTHING = "nothing"  # stands for a job that did not wait for the attempt
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class EventMetrics:
    """Counts from now on.

    Args:
        registry: has the metrics; None where their values are in files.
        forks: tasks are run by processes of this one, which may be lost.
    """

    def __init__(self, registry: CollectorRegistry | None, forks: bool) -> None:
        self._tasks = Counter(
            "nowait_tasks", "Tasks that have ended, by task and outcome", ["task", "outcome"], registry=registry
        )
        self._seconds = Histogram(
            "nowait_task_seconds",
            "Seconds that tasks ran, by task, their replies included",
            ["task"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._attempts = Counter(
            "nowait_job_attempts", "Attempts of jobs, by the state of the job behind them", ["state"], registry=registry
        )
        self._rejected = Counter(
            "nowait_messages_rejected", "Messages that were no valid task", registry=registry
        )
        self._parent = os.getpid()
        # labels() takes as long as what it is for.
        self._by_end: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        MeasuredTask.ended = staticmethod(self._ended)
        signals.task_rejected.connect(self._was_rejected, weak=False)
        signals.task_unknown.connect(self._was_rejected, weak=False)
        if forks:
            signals.task_failure.connect(self._failed, weak=False)

    def _ended(self, name: str, state: str, returned: Any, seconds: float) -> None:
        key = name, state
        found = self._by_end.get(key)
        if found is None:
            outcome = _OUTCOMES.get(state, _OTHER)
            self._by_end[key] = found = self._tasks.labels(name, outcome), self._seconds.labels(name)
        counter, histogram = found
        counter.inc()
        histogram.observe(seconds)
        if name == _RUN_JOB and state == "SUCCESS":
            self._attempts.labels(returned or _NOTHING).inc()

    def _failed(self, sender: Any, **_: Any) -> None:
        # Of what a process reports itself, it is told there; of one that is gone, here.
        if os.getpid() == self._parent:
            self._tasks.labels(sender.name, _LOST).inc()

    def _was_rejected(self, **_: Any) -> None:
        self._rejected.inc()
