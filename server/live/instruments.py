"""The figures of one server process."""

import asyncio
import os
from collections.abc import Callable, Collection
from typing import Any

from nowait.link.depths import Depth, Depths
from server.bridge import Tasks
from server.live.lag import LoopLag
from server.live.shared import Shared


class Instruments:
    """Reads them. What is measured is measured once, whoever looks at it.

    Args:
        tasks: the bridge.
        lag: of the loop.
        depths: of the queues.
        shown: gives the names of the queues that are read.
        processes: how many server processes share the port.

    Attributes:
        lag, depths: measured while anybody needs them.
        latest_depths: as `nowait.link.depths.Depths.latest`.
    """

    def __init__(
        self, tasks: Tasks, lag: LoopLag, depths: Depths, shown: Callable[[], Collection[str]], processes: int
    ) -> None:
        self._tasks = tasks
        self._lag, self._depths = lag, depths
        self._shown = shown
        self._processes = processes
        self.lag, self.depths = Shared(lag.run), Shared(depths.run)

    @property
    def latest_depths(self) -> Any:
        return self._depths.latest

    async def measure(self) -> None:
        """Measure what takes its time, until cancelled."""
        await asyncio.gather(self.lag.run(), self.depths.run())

    def read(self) -> dict[str, Any]:
        """The figures of this moment; `lag` is the worst since the last reading, in seconds."""
        depths, shown = self._depths.latest, self._shown()
        queues = None
        if depths is not None:
            queues = [_queue(name, depth) for name, depth in depths.items() if name in shown]
        return {
            "process": os.getpid(),
            "processes": self._processes,
            "lag": round(self._lag.take(), 6),
            "in_flight": self._tasks.in_flight,
            "broker": self._tasks.state,
            "queues": queues,
        }


def _queue(name: str, depth: Depth | None) -> dict[str, Any]:
    """None for what is not known of it."""
    waiting, workers = (None, None) if depth is None else (depth.waiting, depth.consumers)
    return {"name": name, "waiting": waiting, "workers": workers}
