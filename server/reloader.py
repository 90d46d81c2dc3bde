"""What is read of files again when they have changed: keys, and the certificate."""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Protocol

_INTERVAL = 1.0  # seconds between two looks at the files
_DAY = 86400.0


class Source(Protocol):
    """What is read of files."""

    def changed(self) -> bool:
        """They are others than those that it was read of."""

    async def reload(self) -> None:
        """Read them again; what cannot be used is logged, and changes nothing."""


class Reloader:
    """Has sources read again.

    Args:
        sources: those that were read before.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sources = list(sources)
        self._poked = asyncio.Event()

    def poke(self) -> None:
        """Read all files again, whether or not they look as before."""
        self._poked.set()

    async def run(self) -> None:
        """Look at the files once a second. Once a day all are read: what is wrong with one is in each day's log."""
        loop = asyncio.get_running_loop()
        day = loop.time() + _DAY
        while True:
            with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
                await asyncio.wait_for(self._poked.wait(), _INTERVAL)
            anyhow = self._poked.is_set() or loop.time() >= day
            self._poked.clear()
            if anyhow:
                day = loop.time() + _DAY
            for source in self._sources:
                if anyhow or source.changed():
                    await source.reload()
