"""Who wants to know how long calls took, and what became of them: for metrics, which this package knows nothing of."""

from typing import NamedTuple, Protocol


class Stages(NamedTuple):
    """The seconds of one call by what it waited for; None for what it did not get to, or is not known.

    Attributes:
        confirm: from its message to the broker's confirm; from the last one, where it was sent again.
        queue: from its message until the task began, the confirm meanwhile or later; with `reply`, where the worker
            does not say when the task ended.
        run: that the task ran, its worker's figure.
        reply: from the task's end to the answer here, by the clocks of both hosts.
    """

    confirm: float | None = None
    queue: float | None = None
    run: float | None = None
    reply: float | None = None

    @classmethod
    def of(
        cls, sent: float, confirmed: float | None, answered: float | None, run: float | None, reply: float | None
    ) -> "Stages":
        """The stages of a call.

        Args:
            sent, confirmed, answered: moments of one monotonic clock.
            run: seconds that the task ran.
            reply: seconds since its end, by clocks that may differ: it is never longer than what is left for it.
        """
        confirm = None if confirmed is None else confirmed - sent
        if answered is None or run is None:
            return cls(confirm)
        left = answered - sent - run
        if left < 0.0:
            left = 0.0
        if reply is None:
            return cls(confirm, left, run)
        # Called for each call: min() and max() would take as long as all the rest.
        reply = 0.0 if reply < 0.0 else left if reply > left else reply
        return cls(confirm, left - reply, run, reply)


class Observer(Protocol):
    """Sees each call that has ended. Called on the loop, for each call: it has to be quick, and must not raise."""

    def ended(self, name: str | None, error: BaseException | None, stages: Stages) -> None:
        """A call has ended.

        Args:
            name: of its task; None for a message that is no task.
            error: what it failed with; None where it did not, asyncio.CancelledError where nobody waits any more.
            stages: how long it took.
        """
