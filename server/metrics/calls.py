"""Metrics of calls."""

import asyncio
from collections import Counter as Counts

from prometheus_client import CollectorRegistry, Counter, Histogram

from nowait.bridge import Stages
from nowait.metrics.tally import Tally

# Seconds. A confirm takes less than one millisecond, a query as long as its request may.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_MESSAGE = "message"  # stands for the task of a message that is none


class CallMetrics:
    """The bridge's observer. What it sees is among the metrics once flush() was called."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._calls = Counter(
            "nowait_calls", "Calls that have ended, by task and outcome", ["task", "outcome"], registry=registry
        )
        stages = Histogram(
            "nowait_call_stage_seconds", "Seconds of calls, by stage", ["stage"], buckets=BUCKETS, registry=registry
        )
        self._stages = [Tally(stages.labels(stage)) for stage in Stages._fields]
        self._counts: Counts[tuple[str | None, type[BaseException] | None]] = Counts()

    def ended(self, name: str | None, error: BaseException | None, stages: Stages) -> None:
        """A call has ended."""
        self._counts[name, None if error is None else type(error)] += 1
        for tally, seconds in zip(self._stages, stages):
            if seconds is not None:
                tally.add(seconds)

    def flush(self) -> None:
        """Count what was seen."""
        for (name, error), count in self._counts.items():
            self._calls.labels(name or _MESSAGE, outcome_of(error, "answered")).inc(count)
        self._counts.clear()
        for tally in self._stages:
            tally.flush()


def outcome_of(error: type[BaseException] | None, success: str) -> str:
    """What has come of something, as a label; `success` where there was no error."""
    if error is None:
        return success
    return "cancelled" if issubclass(error, asyncio.CancelledError) else error.__name__
