"""The figures of one server process."""

import asyncio
import os
from typing import Any

from nowait.link.depths import Depth, Depths
from server.bridge import Tasks
from server.live.lag import LoopLag


class Instruments:
    """Reads them.

    Args:
        tasks: the bridge.
        depths: of the queues.
        processes: how many server processes share the port.
    """

    def __init__(self, tasks: Tasks, depths: Depths, processes: int) -> None:
        self._tasks = tasks
        self._depths = depths
        self._processes = processes
        self._lag = LoopLag()

    async def measure(self) -> None:
        """Measure what takes its time, until cancelled."""
        await asyncio.gather(self._lag.run(), self._depths.run())

    def read(self) -> dict[str, Any]:
        """The figures of this moment; `lag` is the worst since the last reading, in seconds."""
        depths = self._depths.latest
        return {
            "process": os.getpid(),
            "processes": self._processes,
            "lag": round(self._lag.take(), 6),
            "in_flight": self._tasks.in_flight,
            "broker": self._tasks.state,
            "queues": None if depths is None else [_queue(name, depth) for name, depth in depths.items()],
        }


def _queue(name: str, depth: Depth | None) -> dict[str, Any]:
    """None for what is not known of it."""
    waiting, workers = (None, None) if depth is None else (depth.waiting, depth.consumers)
    return {"name": name, "waiting": waiting, "workers": workers}
