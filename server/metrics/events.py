"""Metrics of what happens in a server."""

from collections.abc import Collection

from prometheus_client import CollectorRegistry, Counter, Histogram

from nowait.errors import QueueFull
from nowait.metrics.tally import Tally
from server.http.route import method_of
from server.metrics.calls import BUCKETS, outcome_of
from server.webhooks.outcome import OUTCOMES, is_answer

_PUT = "put"  # what has become of a message that is in its queue
_OTHER = "other"  # stands for a method that no route has
_LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)  # seconds


class EventMetrics:
    """The server's observer. The requests that it sees are among the metrics once flush() was called.

    Args:
        registry: has the metrics; None where they are in files.
        message_queues: the queues that are for messages.
    """

    def __init__(self, registry: CollectorRegistry | None, message_queues: Collection[str] = ()) -> None:
        self._requests = Counter(
            "nowait_http_requests",
            "Requests that were answered, by route, method and status",
            ["route", "method", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "nowait_http_request_seconds",
            "Seconds from a request to its answer, by route",
            ["route"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._attempts = Counter(
            "nowait_webhook_attempts", "Attempts to deliver webhooks, by outcome", ["outcome"], registry=registry
        )
        self._attempt = Histogram(
            "nowait_webhook_attempt_seconds", "Seconds of these attempts", buckets=BUCKETS, registry=registry
        )
        self._put = Counter(
            "nowait_messages_put",
            "Messages that clients have put into queues, by what has become of them",
            ["queue", "outcome"],
            registry=registry,
        )
        self._lag = Histogram(
            "nowait_loop_lag_seconds",
            "Seconds by which a timer of the loop was late, 20 times a second",
            buckets=_LAGS,
            registry=registry,
        )
        # What has not happened yet is 0: its first time is to be seen, too.
        for outcome in (*OUTCOMES, *(f"http-{kind}xx" for kind in range(2, 6))):
            self._attempts.labels(outcome)
        for queue in message_queues:
            for error in (None, QueueFull):
                self._put.labels(queue, outcome_of(error, _PUT))
        self._answers: dict[tuple[str, str, int], Tally] = {}

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered."""
        key = route, method_of(method, _OTHER), status
        tally = self._answers.get(key)
        if tally is None:
            tally = self._answers[key] = Tally(self._seconds.labels(route), self._requests.labels(*key))
        tally.add(seconds)

    def flush(self) -> None:
        """Count the requests that were seen."""
        for tally in self._answers.values():
            tally.flush()

    def attempted(self, outcome: str, seconds: float) -> None:
        """An attempt to deliver a webhook has ended."""
        # A receiver chooses its status: the class is enough.
        self._attempts.labels(f"{outcome[:6]}xx" if is_answer(outcome) else outcome).inc()
        self._attempt.observe(seconds)

    def put(self, queue: str, error: BaseException | None) -> None:
        """It is known what has become of a message."""
        self._put.labels(queue, outcome_of(None if error is None else type(error), _PUT)).inc()

    def lagged(self, seconds: float) -> None:
        """A timer of the loop was late by so much."""
        self._lag.observe(seconds)
