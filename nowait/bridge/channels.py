"""Who is on which channel of one connection, and what an event on it means. No I/O.

A number is used again once the broker has answered that the channel is closed.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

from nowait.errors import BridgeError, Overloaded, Refused, Unroutable

C = TypeVar("C")

_FIRST = 2  # the first one is opened with the connection
_NOT_FOUND = 404


class Channels(Generic[C]):
    """The channels of one connection, each with whoever it is for.

    Args:
        last: the largest number that one may have.
    """

    def __init__(self, last: int) -> None:
        self._last = last
        self._open: dict[int, C] = {}
        self._closing: set[int] = set()
        self._next = _FIRST
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[C]:
        return iter(list(self._open.values()))

    def take(self) -> int:
        """The number of a channel that is not in use. Raises Overloaded."""
        if self._free:
            return self._free.pop()
        if self._next > self._last:
            raise Overloaded(f"{len(self)} channels are open, as many as the broker allows")
        self._next += 1
        return self._next - 1

    def opened(self, channel: int, holder: C) -> None:
        """It is opened."""
        self._open[channel] = holder

    def on(self, channel: int) -> C | None:
        """Who it is for; None when it is closed, or about to be."""
        return self._open.get(channel)

    def close(self, channel: int) -> bool:
        """It is wanted no more. Returns True when the broker is to close it."""
        if self._open.pop(channel, None) is None:
            return False
        self._closing.add(channel)
        return True

    def closed(self, channel: int) -> None:
        """The broker has closed it, as it was to."""
        if channel in self._closing:
            self._closing.discard(channel)
            self._free.append(channel)

    def lost(self, channel: int) -> C | None:
        """The broker has closed it of itself. Returns who it was for; None when it was about to be closed."""
        holder = self._open.pop(channel, None)
        if holder is not None:
            self._free.append(channel)
        return holder


def error_of(code: int, reason: str) -> BridgeError:
    """What a channel that the broker has closed with that code means to who was on it."""
    return (Unroutable if code == _NOT_FOUND else Refused)(f"{code}: {reason}")
