"""How late the event loop is."""

import asyncio
from collections.abc import Callable

_INTERVAL = 0.05  # seconds


class LoopLag:
    """A timer that is late whenever something blocks the loop.

    Args:
        interval: seconds between two times at which it is due.
        observe: gets each delay, in seconds; None for nobody.
    """

    def __init__(self, interval: float = _INTERVAL, observe: Callable[[float], None] | None = None) -> None:
        self._interval = interval
        self._observe = observe
        self._worst = 0.0
        self._due: float | None = None

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._due = loop.time() + self._interval
                await asyncio.sleep(self._interval)
                delay = max(0.0, loop.time() - self._due)
                self._worst = max(self._worst, delay)
                if self._observe is not None:
                    self._observe(delay)
        finally:
            self._due = None

    def take(self) -> float:
        """The worst delay since the last call, in seconds; that of a timer that is due and has not come counts."""
        overdue = 0.0 if self._due is None else asyncio.get_running_loop().time() - self._due
        worst, self._worst = max(self._worst, overdue, 0.0), 0.0
        return worst
