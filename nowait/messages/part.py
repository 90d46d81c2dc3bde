"""The parts of a stream: how a worker numbers them, and where it sends them. No I/O.

A part is a message whose body is a piece of the stream and whose `message_id` is `RUN.NUMBER`: the run of the task,
which differs if its message is run a second time, and the number of the part in it, from 1 on. The number 0 is no part:
the worker looks whether its reader is still there, who hears by it that the worker is. The task's reply, which has the
number of all parts, is the end.
"""

from typing import Any, NamedTuple

_QUEUE = "nowait.streams."
_COUNT = "parts"


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


def queue_of(task_id: str) -> str:
    """The queue of the stream that a task answers with."""
    return _QUEUE + task_id


def summary(parts: int) -> dict[str, Any]:
    """What a task returns that has sent so many parts."""
    return {_COUNT: parts}


def count_of(result: Any) -> int | None:
    """How many parts a task has sent, by what it has returned; None when that is no summary."""
    count = result.get(_COUNT) if isinstance(result, dict) else None
    return count if isinstance(count, int) and count >= 0 else None
