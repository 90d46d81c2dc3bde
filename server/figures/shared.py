"""Work that goes on for as long as anybody needs it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Shared:
    """One piece of work, for any number of those who need it.

    Args:
        work: goes on until it is cancelled; called anew when nobody has needed it for a while.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._work = work
        self._users = 0
        self._running: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Have it go on until this is cancelled; raises what the work raises."""
        self._users += 1
        if self._running is None:
            self._running = asyncio.create_task(self._work())
        try:
            # One that leaves ends it for no other.
            await asyncio.shield(self._running)
        finally:
            self._users -= 1
            if not self._users:
                self._running.cancel()
                self._running = None
