"""What a bridged call can fail with, by whose fault it is and which HTTP status it deserves.

    BridgeError                  500
    ├── Unavailable              503  not done; worth another try later
    │   ├── Disconnected              no connection to the broker
    │   ├── Blocked                   the broker is short of memory or disk
    │   ├── Overloaded                too many calls in flight, or too many to be answered in time
    │   ├── Unroutable                no queue of that name, or no exchange
    │   ├── UnknownTask               no task of that name at the worker
    │   ├── Refused                   the broker did not take the message (nack)
    │   │   └── QueueFull                 its queue has as many as it may have
    │   └── Stopped                   the bridge is stopping, or was not started
    ├── MessageTooLarge          413  more than workers take; not sent, or not run
    ├── ResultTooLarge           422  more than the task may return; it ran, and none of it was sent
    ├── OutcomeUnknown           502  the task may have run, or still run, or not
    ├── DeadlineExceeded         504  no answer in time; the task may have run, or not
    └── TaskFailed               500  the task raised, or was revoked or rejected
"""

from typing import ClassVar


class BridgeError(Exception):
    """The root of the tree.

    Attributes:
        status: the HTTP status that answers it.
        retry_after: seconds after which another try makes sense; None when nobody can say.
    """

    status: ClassVar[int] = 500
    retry_after: float | None = None


class Unavailable(BridgeError):
    """The call was not made, or was refused before any worker saw it."""

    status = 503
    retry_after = 1.0


class Disconnected(Unavailable):
    """There is no connection to the broker at the moment."""


class Blocked(Unavailable):
    """The broker takes no messages: a memory or disk alarm (connection.blocked)."""

    retry_after = 5.0


class Overloaded(Unavailable):
    """As many calls are in flight as the bridge allows, or as workers can answer in time.

    Args:
        text: what there is too much of.
        retry_after: as in BridgeError.
    """

    def __init__(self, text: str = "", retry_after: float = 1.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class Unroutable(Unavailable):
    """No queue takes a message with that exchange and routing key (basic.return), or there is no such exchange."""

    retry_after = 5.0


class UnknownTask(Unavailable):
    """The worker that got the message has no task of that name."""

    retry_after = 5.0


class Refused(Unavailable):
    """The broker answered the message with a nack."""


class QueueFull(Refused):
    """The queue is bounded, and has as many messages as it may have: the broker answered with a nack."""


class Stopped(Unavailable):
    """The bridge is stopping, has stopped, or was not started."""


class MessageTooLarge(BridgeError):
    """The task's arguments or headers are larger than workers take (`nowait.messages.limits`)."""

    status = 413


class ResultTooLarge(BridgeError):
    """What the task would return is more than it may, or than can be received. A task may raise it, too.

    Attributes:
        limit: how much is allowed; None when the worker does not say.
        unit: of what: "rows" or "bytes".
    """

    status = 422

    def __init__(self, limit: int | None = None, unit: str = "bytes") -> None:
        # Both travel in the reply, as Celery sends the arguments of an exception.
        super().__init__(limit, unit)
        self.limit = limit
        self.unit = unit

    def __str__(self) -> str:
        return f"more than {'so many' if self.limit is None else self.limit} {self.unit}"


class OutcomeUnknown(BridgeError):
    """The connection was lost, or a confirm did not come, with the message under way; or a worker was lost.

    A worker's process that ran the task is enough. Whether the task ran, or the broker has the message, is unknown.
    Where it was the connection, tasks that are sent with `idempotent=True` are sent again instead, when it is back.
    """

    status = 502


class DeadlineExceeded(BridgeError):
    """The call's time is over. Whether the task ran, or still will, is unknown."""

    status = 504


class TaskFailed(BridgeError):
    """The worker answered with a failure.

    Attributes:
        state: FAILURE, REVOKED or REJECTED.
        exception: the name of the exception's type, as the worker gave it; "" for none.
        message: the exception's text, as the worker gave it: for logs, not for clients.
    """

    def __init__(self, state: str, exception: str = "", message: str = "") -> None:
        super().__init__(f"{state}: {exception}: {message}" if exception else state)
        self.state = state
        self.exception = exception
        self.message = message
