"""The newest events of the log, in memory. No I/O."""

from bisect import bisect_right
from collections.abc import Collection

from server.topics.event import Event

_CUT = 16  # the part of those that are kept, as a divisor, of which as many that are gone may be held besides


class Ring:
    """The newest events, without a hole up to the last.

    Args:
        count: how many are kept.
        size: how many bytes their documents may have together.

    Attributes:
        behind: the offset behind which none is missing; None while nothing is known.
        last: the offset up to which the log was read; -1 while nothing is known.
    """

    def __init__(self, count: int, size: int) -> None:
        self._count = count
        self._size = size
        self._events: list[Event] = []  # those before the first are gone, and are cut off now and then
        self._first = 0
        self._bytes = 0
        self.behind: int | None = None
        self.last = -1

    def __len__(self) -> int:
        return len(self._events) - self._first

    def __repr__(self) -> str:
        return f"<Ring {len(self)} events, {self._bytes} bytes, behind {self.behind} up to {self.last}>"

    def read(self, offset: int, event: Event | None) -> None:
        """The log was read up to there; None for what is no event."""
        if self.behind is None:
            self.behind = offset - 1
        self.last = offset
        if event is None:
            return
        self._events.append(event)
        self._bytes += len(event.document)
        while len(self) > self._count or self._bytes > self._size:
            gone = self._events[self._first]
            self._first += 1
            self._bytes -= len(gone.document)
            self.behind = gone.offset
        # To cut off each by itself would move all others.
        if self._first > len(self) // _CUT:
            del self._events[: self._first]
            self._first = 0

    def has(self, offset: int) -> bool:
        """Is all here that is behind an offset?"""
        return self.behind is not None and offset >= self.behind

    def since(self, offset: int, topics: Collection[str], size: int) -> tuple[list[Event], int]:
        """The first events of some topics behind an offset, and the offset up to which they are all.

        For one that has() everything behind it.

        Args:
            offset: behind this one.
            topics: of these.
            size: of their documents together, in bytes; exceeded by the last of them at most.
        """
        found: list[Event] = []
        for at in range(bisect_right(self._events, offset, lo=self._first, key=_offset), len(self._events)):
            event = self._events[at]
            if event.topic in topics:
                found.append(event)
                size -= len(event.document)
                if size <= 0:
                    return found, event.offset
        return found, max(offset, self.last)

    def clear(self) -> None:
        """Nothing is known any more."""
        self._events.clear()
        self._first, self._bytes, self.behind, self.last = 0, 0, None, -1


def _offset(event: Event) -> int:
    return event.offset
