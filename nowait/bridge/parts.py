"""The parts of one stream as they arrive: each once, in order, all from one run of its task. No I/O."""

from typing import Any

from nowait.amqp.methods import Delivery
from nowait.errors import OutcomeUnknown, Overloaded, TaskFailed
from nowait.messages.part import PartId, Summary


class Parts:
    """What has arrived, and whether that is all.

    Args:
        sender: the user that parts have to come from; None for anybody.

    Attributes:
        heard: the worker has sent something.
    """

    def __init__(self, sender: str | None = None) -> None:
        self._sender = sender
        self._run: str | None = None
        self._last = 0
        self._count: int | None = None  # of all parts, once it is known
        self.heard = False

    def __repr__(self) -> str:
        return f"<Parts {self._last} of {'?' if self._count is None else self._count}>"

    @property
    def complete(self) -> bool:
        """All parts have arrived, and the task has succeeded."""
        return self._last == self._count

    def received(self, message: Delivery) -> bool:
        """A message came to the stream's queue. Returns True for the next part, and False for what is to be dropped.

        Raises OutcomeUnknown when parts are missing or from a second run, which may have other rows or another order,
        and Overloaded when there was no room for it.
        """
        part = PartId.parse(message.properties.get("message_id"))
        if part is None or self._sender not in (None, message.user_id):
            return False
        self.heard = True
        if part.number == 0:
            return False
        self._check_run(part.run)
        if part.number <= self._last:
            return False  # sent twice, as its confirm was lost
        if part.number > self._last + 1:
            raise OutcomeUnknown(f"the parts from {self._last + 1} to {part.number - 1} are missing")
        if message.parts is None:
            raise Overloaded(f"there was no room for a part of {message.size} bytes")
        self._last = part.number
        self._check()
        return True

    def ended(self, result: Any) -> None:
        """The task has succeeded.

        Raises TaskFailed when it has not answered in parts, and OutcomeUnknown when the parts are not those of its run.
        """
        self.heard = True
        summary = Summary.parse(result)
        if summary is None:
            raise TaskFailed("FAILURE", "NoStream", "the task does not answer in parts")
        self._check_run(summary.run)
        self._count = summary.parts
        self._check()

    def _check_run(self, run: str) -> None:
        if self._run not in (None, run):
            raise OutcomeUnknown("the task was run a second time, as a worker was lost")
        self._run = run

    def _check(self) -> None:
        if self._count is not None and self._last > self._count:
            raise OutcomeUnknown(f"there are more than the {self._count} parts that the task has sent")
