"""Those who stay for as long as their keys are valid: they follow topics and jobs, or consume queues."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

from nowait import background
from server.keys.client import Client

log = logging.getLogger(__name__)

_LONGEST = 3600.0  # seconds until the next look: the clock that keys end by may be set meanwhile


class Followers:
    """The followers of one process.

    Args:
        lasts: gives the seconds that a client's key remains valid; 0 when it is not, math.inf without an end.
    """

    def __init__(self, lasts: Callable[[Client], float]) -> None:
        self._lasts = lasts
        self._ends: dict[object, tuple[Client, Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._ends)

    @contextmanager
    def following(self, client: Client, end: Callable[[], None]) -> Iterator[None]:
        """While the block runs, have `end` called once the client's key is valid no more, at once if it is not now."""
        follower = object()
        self._ends[follower] = client, end
        try:
            self._look_at(follower)
            yield
        finally:
            self._ends.pop(follower, None)

    def look(self) -> None:
        """End those whose keys are valid no more."""
        for follower in list(self._ends):
            self._look_at(follower)

    def _look_at(self, follower: object) -> None:
        client, end = self._ends[follower]
        left = self._lasts(client)
        if left <= 0:
            del self._ends[follower]
            try:
                end()
            except Exception:  # the others' keys have ended, too
                log.exception("a follower could not be ended")
        elif left < inf:
            self._look_within(min(left, _LONGEST))

    def _look_within(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = background.at(at, self._due)

    def _due(self) -> None:
        self._timer = None
        self.look()
