"""What one subscriber is about to get."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from server.topics.event import Event, Gap, Item, Position, Reset

_BOUND = 256  # events that wait for a subscriber
_MAX_TAKEN = 256 * 1024  # bytes of documents that it takes at once, about


class FeedClosed(Exception):
    """Nothing more is to come."""


class Feed:
    """The events of one subscriber, between the log and its connection.

    One that does not take them is closed: it comes again, with the id of the last one it has got.

    Args:
        topics: whose events it gets.
        on_overflow: is called when it is closed as too many wait.

    Attributes:
        closed: nothing more is to come.
    """

    def __init__(self, topics: frozenset[str], on_overflow: Callable[[], None]) -> None:
        self._topics = topics
        self._on_overflow = on_overflow
        self._items: deque[Item] = deque()
        self._after = -1  # the offset of the last event that was put
        self.closed = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def __repr__(self) -> str:
        return f"<Feed of {', '.join(sorted(self._topics))}, {self.waiting} waiting>"

    @property
    def waiting(self) -> int:
        """Items that have come and were not taken."""
        return len(self._items)

    def put(self, event: Event) -> None:
        """Add an event, unless it is of another topic, or was added before."""
        if event.offset > self._after and event.topic in self._topics:
            self._after = event.offset
            self._add(event)

    def begin(self, item: Position | Gap | Reset) -> None:
        """It goes on behind an offset."""
        if not isinstance(item, Gap):
            self._after = item.offset
        self._add(item)

    def skip(self, offset: int) -> None:
        """It has all up to an offset."""
        self._after = max(self._after, offset)

    def close(self) -> None:
        """Nothing more is to come, nor what has come and was not taken."""
        self.closed = True
        self._items.clear()
        self._news.set()
        self._room.set()

    async def room(self) -> None:
        """Wait until a half of what may wait was taken. Raises FeedClosed."""
        if len(self._items) > _BOUND // 2:
            self._room.clear()
            await self._room.wait()
        if self.closed:
            raise FeedClosed

    async def take(self, timeout: float) -> list[Item] | None:
        """What waits, as much as is to be taken at once; none after `timeout` seconds. None when it is closed."""
        if not self._items and not self.closed:
            self._news.clear()
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), timeout)
        if self.closed:
            return None
        taken: list[Item] = []
        size = 0
        while self._items and size < _MAX_TAKEN:
            item = self._items.popleft()
            size += len(item.document) if isinstance(item, Event) else 0
            taken.append(item)
        if len(self._items) <= _BOUND // 2:
            self._room.set()
        return taken

    def _add(self, item: Item) -> None:
        if self.closed:
            return
        if len(self._items) >= _BOUND:
            self.close()
            self._on_overflow()
            return
        self._items.append(item)
        self._news.set()
