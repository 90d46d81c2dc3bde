"""The parts of a stream: how a worker numbers them, and where it sends them. No I/O.

A part is a message whose body is a piece of the stream and whose `message_id` is `RUN.NUMBER`: the run of the task,
which differs if its message is run a second time, and the number of the part in it, from 1 on. The number 0 is no part:
the worker looks whether its reader is still there, who hears by it that the worker is. The task's reply, which has the
run and the number of all its parts, is the end.
"""

from typing import Any, NamedTuple

_QUEUE = "nowait.streams."
_RUN, _COUNT = "run", "parts"


class PartId(NamedTuple):
    """Which part of a stream a message is."""

    run: str
    number: int

    def __str__(self) -> str:
        return f"{self.run}.{self.number}"

    @classmethod
    def parse(cls, message_id: Any) -> "PartId | None":
        """That of a message; None when it is none."""
        run, _, number = message_id.partition(".") if isinstance(message_id, str) else ("", "", "")
        return cls(run, int(number)) if run and number.isascii() and number.isdigit() and len(number) < 16 else None


class Summary(NamedTuple):
    """What a task has sent: how many parts, in which run."""

    run: str
    parts: int

    def document(self) -> dict[str, Any]:
        """What the task returns, a JSON value."""
        return {_RUN: self.run, _COUNT: self.parts}

    @classmethod
    def parse(cls, result: Any) -> "Summary | None":
        """That of a task that has returned `result`; None when it is none."""
        run, parts = (result.get(_RUN), result.get(_COUNT)) if isinstance(result, dict) else (None, None)
        return cls(run, parts) if isinstance(run, str) and isinstance(parts, int) and parts >= 0 else None


def queue_of(task_id: str) -> str:
    """The queue of the stream that a task answers with."""
    return _QUEUE + task_id
