"""Metrics of what happens in a worker."""

import os
from collections.abc import Iterator
from threading import Lock
from typing import Any

from celery import signals
from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.registry import Collector

from nowait.metrics.tally import Tally
from tasks.metrics.task import MeasuredTask

_OUTCOMES = {"SUCCESS": "succeeded", "FAILURE": "failed", "RETRY": "retried"}
_MOST = 256  # ends of one kind that wait for flush()
_OTHER = "other"
_LOST = "lost"
_RUN_JOB = "task.run_job"
_NOTHING = "nothing"  # stands for a job that did not wait for the attempt
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class EventMetrics(Collector):
    """Counts from now on. It gives nothing itself: it has the other metrics know, before they are read.

    Args:
        registry: has the metrics; None where their values are in files.
        forks: tasks are run by processes of this one, which may be lost.
    """

    def __init__(self, registry: CollectorRegistry | None, forks: bool) -> None:
        if registry is not None:
            # Before those that it is to have know: they are read in this order.
            registry.register(self)
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
        # The seconds of each end, for the next flush(): to append them takes a tenth of what it takes to count them,
        # and no lock. Processes come to an end without one: nothing waits there.
        self._ends: dict[tuple[str, str], list[float]] = {}
        self._most = 1 if forks else _MOST
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._lock = Lock()
        MeasuredTask.ended = staticmethod(self._ended)
        signals.task_rejected.connect(self._was_rejected, weak=False)
        signals.task_unknown.connect(self._was_rejected, weak=False)
        if forks:
            signals.task_failure.connect(self._failed, weak=False)

    def _ended(self, name: str, state: str, returned: Any, seconds: float) -> None:
        ends = self._ends.get((name, state))
        if ends is None:
            ends = self._ends.setdefault((name, state), [])
        ends.append(seconds)
        if len(ends) >= self._most:
            self.flush()
        if name == _RUN_JOB and state == "SUCCESS":
            self._attempts.labels(returned or _NOTHING).inc()

    def flush(self) -> None:
        """Count what was seen."""
        with self._lock:
            for key, ends in list(self._ends.items()):
                tally = self._tallies.get(key)
                if tally is None:
                    name, state = key
                    counter = self._tasks.labels(name, _OUTCOMES.get(state, _OTHER))
                    tally = self._tallies[key] = Tally(self._seconds.labels(name), counter)
                # Others append meanwhile.
                for _ in range(len(ends)):
                    tally.add(ends.pop())
                tally.flush()

    def collect(self) -> Iterator[Metric]:
        """Nothing: see above."""
        self.flush()
        return iter(())

    def _failed(self, sender: Any, **_: Any) -> None:
        # Of what a process reports itself, it is told there; of one that is gone, here.
        if os.getpid() == self._parent:
            self._tasks.labels(sender.name, _LOST).inc()

    def _was_rejected(self, **_: Any) -> None:
        self._rejected.inc()
