"""The figures of one server process."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from nowait.link.depths import Depth, Depths
from server.bridge import Tasks
from server.figures.lag import LoopLag
from server.figures.shared import Shared


class Instruments:
    """Reads them. What is measured is measured once, whoever looks at it.

    Args:
        tasks: the bridge.
        lag: of the loop.
        depths: of the queues.
        bounds: of the queues of messages, by their names: how many may wait.
        processes: how many server processes share the port.

    Attributes:
        lag, depths: measured while anybody needs them.
        latest_depths: as `nowait.link.depths.Depths.latest`.
    """

    def __init__(
        self, tasks: Tasks, lag: LoopLag, depths: Depths, bounds: Mapping[str, int], processes: int
    ) -> None:
        self._tasks = tasks
        self._lag, self._depths = lag, depths
        self._bounds = bounds
        self._processes = processes
        self.lag, self.depths = Shared(lag.run), Shared(depths.run)

    @property
    def latest_depths(self) -> Mapping[str, Depth | None] | None:
        return self._depths.latest

    async def measure(self) -> None:
        """Measure what takes its time, until cancelled."""
        await asyncio.gather(self.lag.run(), self.depths.run())

    def read(self) -> dict[str, Any]:
        """The figures of this moment; `lag` is the worst since the last reading, in seconds."""
        depths = self._depths.latest
        tasks = None if depths is None else {name: depth for name, depth in depths.items() if name not in self._bounds}
        return {
            "process": os.getpid(),
            "processes": self._processes,
            "lag": round(self._lag.take(), 6),
            "in_flight": self._tasks.in_flight,
            "broker": self._tasks.state,
            "queues": None if tasks is None else [_queue(name, depth, "workers") for name, depth in tasks.items()],
            "messages": [
                {**_queue(name, (depths or {}).get(name), "consumers"), "bound": bound}
                for name, bound in self._bounds.items()
            ],
        }


def _queue(name: str, depth: Depth | None, takers: str) -> dict[str, Any]:
    """None for what is not known of it."""
    waiting, taking = (None, None) if depth is None else (depth.waiting, depth.consumers)
    return {"name": name, "waiting": waiting, takers: taking}
