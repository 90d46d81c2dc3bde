"""The requests in flight: until their answers are written, not only made."""

import asyncio
import contextlib
from typing import Protocol

from nowait.errors import BridgeError


class Abandonable(Protocol):
    """A request that can be ended from outside."""

    def abandon(self, error: BridgeError) -> None:
        """End what it waits for; it is answered with the problem of `error`."""

    def break_off(self) -> None:
        """End its connection, in whatever it is."""


class InFlightRequests:
    """The requests of one server that have come, and whose answers have not left yet.

    Attributes:
        stopping: the server is about to stop: it is not ready, and closes each connection behind its answer.
    """

    def __init__(self) -> None:
        self.stopping = False
        self._requests: set[Abandonable] = set()
        self._idle = asyncio.Event()

    def __len__(self) -> int:
        return len(self._requests)

    def enter(self, request: Abandonable) -> None:
        """A request has come."""
        self._requests.add(request)

    def leave(self, request: Abandonable) -> None:
        """Its answer is written, or nobody reads it any more."""
        self._requests.discard(request)
        if self.stopping and not self._requests:
            self._idle.set()

    async def drain(self, timeout: float) -> bool:
        """Wait, once stopping, until none is left, at most `timeout` seconds. Returns False when some are."""
        self._idle.clear()
        if self._requests and timeout > 0:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._idle.wait(), timeout)
        return not self._requests

    def abandon(self, error: BridgeError) -> None:
        """End all that are still waiting for something."""
        for request in list(self._requests):
            request.abandon(error)

    def break_off(self) -> None:
        """End the connections of all that are left."""
        for request in list(self._requests):
            request.break_off()
