"""What is read of files again when they have changed: keys, and the certificate."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Protocol

log = logging.getLogger(__name__)

_INTERVAL = 1.0  # seconds between two looks at the files
_RETRY = 5.0  # seconds until what could not be read is tried again: nothing of a file shows that it can be
_DAY = 86400.0


class Source(Protocol):
    """What is read of files."""

    def changed(self) -> bool:
        """They are others than those that it was read of."""

    async def reload(self) -> bool:
        """Read them again. Returns False where they cannot be used, which is logged, and changes nothing."""


class Reloader:
    """Has sources read again.

    Args:
        sources: those that were read before, by what they are.

    Attributes:
        failing: which of them are what they were, as their files could not be read the last time.
    """

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = dict(sources)
        self.failing: set[str] = set()
        self._poked = asyncio.Event()

    def poke(self) -> None:
        """Read all files again, whether or not they look as before."""
        self._poked.set()

    async def run(self) -> None:
        """Look at the files once a second. Once a day all are read: what is wrong with one is in each day's log."""
        loop = asyncio.get_running_loop()
        day, retry = loop.time() + _DAY, 0.0
        while True:
            with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
                await asyncio.wait_for(self._poked.wait(), _INTERVAL)
            anyhow = self._poked.is_set() or loop.time() >= day
            self._poked.clear()
            if anyhow:
                day = loop.time() + _DAY
            again: set[str] = set()
            if loop.time() >= retry:
                again, retry = set(self.failing), loop.time() + _RETRY
            for name, source in self._sources.items():
                if anyhow or name in again or source.changed():
                    await self._reload(name, source)

    async def _reload(self, name: str, source: Source) -> None:
        try:
            done = await source.reload()
        except Exception:  # the other one is to be read all the same
            log.exception("%s: not read again", name)
            done = False
        (self.failing.discard if done else self.failing.add)(name)
