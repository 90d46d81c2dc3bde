"""Who waits for which call. No I/O; the clock is an argument.

    a caller ──▶ a call of the same key is under way, and was given time enough ──▶ it waits for that one
                 else ──▶ a call of its own, for which the next ones wait

A call is given the time of the caller that it was sent for. Others join it that have as much time, or up to a tenth
more: of requests that came at once, each has a little more or less left. Nobody's time ends with a call that was given
less: where its callers have time left, it is sent again. One that is too late before the last tenth of its time is not:
it would be again, at once. Within that it may be so by the clock of a worker, which is ahead.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

# The part of a caller's time that a call has to have been given to be joined.
_ENOUGH = 0.9

K = TypeVar("K", bound=Hashable)
C = TypeVar("C", bound=Hashable)  # a caller


class Flight(Generic[K, C]):
    """A call under way, and its callers.

    Attributes:
        key: of what is called.
        given: seconds that the call was given when it was sent.
        due: when these are over.
        deadlines: of those who wait for it, by caller.
    """

    __slots__ = ("key", "given", "due", "deadlines")

    def __init__(self, key: K, given: float, due: float) -> None:
        self.key = key
        self.given = given
        self.due = due
        self.deadlines: dict[C, float] = {}

    def __repr__(self) -> str:
        return f"<Flight of {self.key}, {self.given:g} s, {len(self.deadlines)} callers>"


class Flights(Generic[K, C]):
    """The calls under way: of each key, the last that was sent is the one that is waited for."""

    def __init__(self) -> None:
        self._last: dict[K, Flight[K, C]] = {}

    def __len__(self) -> int:
        """Those that may be joined."""
        return len(self._last)

    def board(
        self, key: K, caller: C, deadline: float, now: float, alone: bool = False
    ) -> tuple[Flight[K, C], bool]:
        """The call that a caller waits for, and whether it is a new one, to be sent with the time that it was given.

        Args:
            key: what is called.
            caller: who waits.
            deadline: until when.
            now: the time.
            alone: it waits for none that was sent before.
        """
        left = deadline - now
        flight = None if alone else self._last.get(key)
        new = flight is None or flight.given < _ENOUGH * left
        if flight is None or new:
            flight = self._last[key] = Flight(key, left, deadline)
        flight.deadlines[caller] = deadline
        return flight, new

    def leave(self, flight: Flight[K, C], caller: C) -> bool:
        """A caller waits no more. Returns True when it was the last: the call is to be cancelled."""
        del flight.deadlines[caller]
        if not flight.deadlines:
            self.land(flight)
        return not flight.deadlines

    def timed_out(self, flight: Flight[K, C], now: float) -> float | None:
        """The call is too late. Returns the seconds with which it is to be sent again; None when it is not to be."""
        until = max(flight.deadlines.values(), default=now)
        if until <= max(now, flight.due) or now < flight.due - (1 - _ENOUGH) * flight.given:
            self.land(flight)
            return None
        flight.given, flight.due = until - now, until
        return flight.given

    def land(self, flight: Flight[K, C]) -> None:
        """The call has an outcome: nobody joins it any more."""
        if self._last.get(flight.key) is flight:
            del self._last[flight.key]
