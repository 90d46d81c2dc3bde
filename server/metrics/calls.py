"""Metrics of calls."""

import asyncio

from prometheus_client import CollectorRegistry, Counter, Histogram

from nowait.bridge import Stages
from nowait.errors import QueueFull

# Seconds. A confirm takes less than one millisecond, a query as long as its request may.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_MESSAGE = "message"  # stands for the task of a message that is none


class CallMetrics:
    """The bridge's observer."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._calls = Counter(
            "nowait_calls", "Calls that have ended, by task and outcome", ["task", "outcome"], registry=registry
        )
        self._stages = Histogram(
            "nowait_call_stage_seconds", "Seconds of calls, by stage", ["stage"], buckets=BUCKETS, registry=registry
        )
        # It is to be seen at once.
        self._calls.labels(_MESSAGE, QueueFull.__name__)
        # labels() takes as long as what it is for.
        self._by_name: dict[tuple[str | None, type[BaseException] | None], Counter] = {}
        self._confirm, self._queue, self._run, self._reply = map(self._stages.labels, Stages._fields)

    def ended(self, name: str | None, error: BaseException | None, stages: Stages) -> None:
        """A call has ended."""
        key = name, None if error is None else type(error)
        counter = self._by_name.get(key)
        if counter is None:
            self._by_name[key] = counter = self._calls.labels(name or _MESSAGE, _outcome(error))
        counter.inc()
        if stages.confirm is not None:
            self._confirm.observe(stages.confirm)
        if stages.queue is not None:
            self._queue.observe(stages.queue)
        if stages.run is not None:
            self._run.observe(stages.run)
        if stages.reply is not None:
            self._reply.observe(stages.reply)


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "answered"
    return "cancelled" if isinstance(error, asyncio.CancelledError) else type(error).__name__
