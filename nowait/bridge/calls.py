"""The calls in flight: who waits for which reply. No loop, no socket, no clock."""

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

from nowait.errors import Overloaded


class Sent(Protocol):
    """What the table wants to know of a call."""

    @property
    def confirmed(self) -> bool:
        """True when the broker has its message."""

    @property
    def idempotent(self) -> bool:
        """True when its task may run twice."""


T = TypeVar("T", bound=Sent)

_REMEMBERED = 10_000  # ended calls whose late replies are told from unknown ones


class Stray(Enum):
    """Why a reply found no call."""

    LATE = "late"  # its call gave up: deadline, cancel, refusal
    DUPLICATE = "duplicate"  # its call was answered before
    UNKNOWN = "unknown"  # no call of this process, or one of long ago


@dataclass
class Strays:
    """How many replies found no call, by reason."""

    late: int = 0
    duplicate: int = 0
    unknown: int = 0


class Calls(Generic[T]):
    """The table of calls in flight, by id.

    Args:
        limit: how many may be in flight at once, 1 or more.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError("limit: expected 1 or more")
        self.limit = limit
        self.strays = Strays()
        self._waiting: dict[str, T] = {}
        self._ended: OrderedDict[str, Stray] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def __repr__(self) -> str:
        return f"<Calls {len(self)} of {self.limit} in flight, strays: {self.strays}>"

    def admit(self) -> None:
        """Raise Overloaded when one more call would be too many."""
        if len(self._waiting) >= self.limit:
            raise Overloaded(f"{self.limit} calls are in flight")

    def add(self, call_id: str, call: T) -> None:
        """Enter a call before its message leaves. Raises ValueError when the id is in flight."""
        self.admit()
        if call_id in self._waiting:
            raise ValueError(f"task_id {call_id} is in flight already")
        self._waiting[call_id] = call

    def peek(self, call_id: str) -> T | None:
        """The call with that id, None when it is not in flight."""
        return self._waiting.get(call_id)

    def answer(self, call_id: str) -> T | None:
        """Take out the call that a final reply answers; None, and a count, for a stray reply."""
        call = self._waiting.pop(call_id, None)
        if call is None:
            self.stray(call_id)
        else:
            self._remember(call_id, Stray.DUPLICATE)
        return call

    def abandon(self, call_id: str) -> T | None:
        """Take out a call that nobody waits for any more; None when it is not in flight."""
        call = self._waiting.pop(call_id, None)
        if call is not None:
            self._remember(call_id, Stray.LATE)
        return call

    def stray(self, call_id: str) -> Stray:
        """Count a reply that found no call; returns why it found none."""
        reason = self._ended.get(call_id, Stray.UNKNOWN)
        setattr(self.strays, reason.value, getattr(self.strays, reason.value) + 1)
        return reason

    def unknown(self, refused: bool) -> list[str]:
        """The calls that a lost connection decides: nobody can say whether their task will run.

        A message that the broker has is kept for the workers, and a reply for us: that call goes
        on waiting. So does one that can be sent again.

        Args:
            refused: the broker ended the connection because of a message: none of those that it
                did not confirm is sent again, lest the one that was wrong does it again.
        """
        return [
            call_id
            for call_id, call in self._waiting.items()
            if not call.confirmed and (refused or not call.idempotent)
        ]

    def to_send_again(self) -> list[T]:
        """The calls whose request or reply may be lost, and whose task may run twice."""
        return [call for call in self._waiting.values() if call.idempotent]

    def ids(self) -> list[str]:
        """The ids in flight, the oldest first."""
        return list(self._waiting)

    def _remember(self, call_id: str, reason: Stray) -> None:
        self._ended[call_id] = reason
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
