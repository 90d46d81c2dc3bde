"""Figures once a second, for all who look at them, and only while somebody does."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from nowait import background
from server.http.event_stream import event

log = logging.getLogger(__name__)

_INTERVAL = 1.0  # seconds


class TooManyLooks(Exception):
    """As many look as may."""


class Pulse:
    """Reads the figures once for all who look.

    Args:
        read: gives them.
        measure: has to run meanwhile.
        limit: of those who look at once.
        interval: seconds between two readings.

    Attributes:
        closed: nobody looks any more.
    """

    def __init__(
        self,
        read: Callable[[], dict[str, Any]],
        measure: Callable[[], Coroutine[Any, Any, None]],
        limit: int,
        interval: float = _INTERVAL,
    ) -> None:
        self._read = read
        self._measure = measure
        self._limit = limit
        self._interval = interval
        self._looks = 0
        self._running: asyncio.Task[None] | None = None
        self._latest = b""
        self._news = asyncio.Event()  # a new one for each reading
        self.closed = False

    def __len__(self) -> int:
        """Those who look."""
        return self._looks

    def __repr__(self) -> str:
        return f"<Pulse {self._looks} looks{', closed' if self.closed else ''}>"

    @contextmanager
    def look(self) -> Iterator[None]:
        """Have figures read while the block runs. Raises TooManyLooks."""
        if self._looks >= self._limit:
            raise TooManyLooks(f"{self._limit} looks")
        self._looks += 1
        if self._running is None and not self.closed:
            self._running = background.begin(self._run(), "pulse")
        try:
            yield
        finally:
            self._looks -= 1
            if not self._looks:
                self._stop()

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Each reading from now on, for one who looks, as a server-sent event; ends when the pulse is closed.

        Who takes long over one gets the newest behind it.
        """
        while not self.closed:
            await self._news.wait()
            if not self.closed:
                yield self._latest

    def close(self) -> None:
        """Nobody looks any longer: the server stops."""
        self.closed = True
        self._stop()
        self._news.set()

    def _stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            self._running = None

    async def _run(self) -> None:
        measuring = asyncio.create_task(self._measure(), name="instruments")
        try:
            while True:
                await asyncio.sleep(self._interval)
                try:
                    self._latest = event(None, b"statistics", json.dumps(self._read()).encode())
                except Exception:  # the next ones may do
                    log.exception("the figures cannot be read")
                    continue
                news, self._news = self._news, asyncio.Event()
                news.set()
        finally:
            measuring.cancel()
