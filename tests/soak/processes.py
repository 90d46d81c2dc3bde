"""What processes have of memory, descriptors and threads, read again and again while they live."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.growth import Reading


@dataclass
class Life:
    """One process, from its first reading to its last.

    Attributes:
        name: what it does; the next process that does it has the same.
    """

    name: str
    pid: int
    readings: list[Reading] = field(default_factory=list)


class Watch:
    """Reads the processes every other second, inside its `async with` block.

    Args:
        running: gives the processes of the moment, by their names, as their ids.
        began: the begin of the run, by time.monotonic().

    Attributes:
        lives: in the order in which they began.
    """

    pause = 2.0

    def __init__(self, running: Callable[[], Mapping[str, int]], began: float) -> None:
        self._running = running
        self._began = began
        self._current: dict[str, Life] = {}
        self.lives: list[Life] = []

    async def __aenter__(self) -> "Watch":
        self._task = asyncio.create_task(self._go_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    def look(self) -> None:
        """Read them once."""
        for name, pid in self._running().items():
            try:
                reading = read(pid, time.monotonic() - self._began)
            except (OSError, ValueError):  # it is gone, or about to be
                continue
            life = self._current.get(name)
            if life is None or life.pid != pid:
                life = self._current[name] = Life(name, pid)
                self.lives.append(life)
            life.readings.append(reading)

    async def _go_on(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(self.pause)


def read(pid: int, at: float) -> Reading:
    """What a process has. Raises OSError or ValueError when it has ended."""
    folder = Path(f"/proc/{pid}")
    lines = (line.split() for line in (folder / "status").read_text().splitlines())
    values = {words[0]: words[1] for words in lines if len(words) > 1}
    if "RssAnon:" not in values:
        raise ValueError(f"the process {pid} has no memory any more")
    memory = (int(values["RssAnon:"]) + int(values.get("VmSwap:", 0))) * 1024 / 1e6
    return Reading(at, memory, len(os.listdir(folder / "fd")), int(values["Threads:"]))
