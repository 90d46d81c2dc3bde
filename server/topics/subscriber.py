"""One subscriber: how far it is. No I/O."""

import asyncio
from collections.abc import Sequence

from server.topics.event import Gap, Item, Position, Reset


class Subscriber:
    """A subscriber's place in the log.

    Args:
        topics: whose events it gets.
        after: the offset behind which it begins; None for the end of the log.

    Attributes:
        topics: as given.
        after: the offset up to which it has got all; None before it has begun.
        known: `after` is an offset of this log.
        moved: the log was replaced, and `after` is another one: this is what the subscriber is to get first. None
            otherwise.
    """

    def __init__(self, topics: frozenset[str], after: int | None) -> None:
        self.topics = topics
        self.after = after
        self.known = False
        self.moved: Reset | None = None
        self._noted = after  # the last offset that its client has got
        self._waiter: asyncio.Future[bool] | None = None

    def __repr__(self) -> str:
        return f"<Subscriber of {', '.join(sorted(self.topics))}, behind {self.after}>"

    def begin(self, offset: int) -> None:
        """It goes on behind an offset of this log."""
        self.after, self.known = offset, True

    def move(self, offset: int) -> None:
        """The log was replaced: it goes on behind an offset of the new one."""
        self.begin(offset)
        self.moved = Reset(offset)
        self.wake()

    def given(self, items: Sequence[Item]) -> Sequence[Item]:
        """What its client gets; when there is nothing, how far it is, if that is news to the client.

        A client that comes again does so with that offset: it is not to read once more what was nothing to it.
        """
        if not items and self.after is not None and self.after != self._noted:
            items = [Position(self.after)]
        if items and not isinstance(items[-1], Gap):
            self._noted = items[-1].offset
        return items

    def wake(self) -> None:
        """There may be something for it."""
        self._wake(True)

    async def wait(self, timeout: float) -> bool:
        """Return True when there may be something for it; False after `timeout` seconds."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        # Cheaper than asyncio.wait_for(), which has a task for each wait of each subscriber.
        timer = loop.call_later(timeout, self._wake, False)
        try:
            return await self._waiter
        finally:
            timer.cancel()

    def _wake(self, news: bool) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(news)
