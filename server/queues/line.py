"""Producers that wait for room in one queue: the first of them tries, all others wait behind it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Line:
    """Who waits, in the order in which they have come."""

    def __init__(self) -> None:
        self._turns: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._turns)

    def __repr__(self) -> str:
        return f"<Line {len(self)} wait>"

    @asynccontextmanager
    async def place(self, until: float) -> AsyncIterator[bool]:
        """A place at the end, for as long as the block lasts: entered with True by who is first, once it is.

        Args:
            until: when it is entered at the latest, with False then; by the loop's clock.
        """
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._turns.append(turn)
        try:
            if self._turns[0] is not turn:
                await asyncio.wait([turn], timeout=until - loop.time())
            yield self._turns[0] is turn
        finally:
            self._turns.remove(turn)
            if self._turns and not self._turns[0].done():
                self._turns[0].set_result(None)
