"""Looks at the database again and again, whatever becomes of it."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from nowait.jobs.retry import backoff
from server.jobs.model import SchemaMissing, StoreUnavailable

log = logging.getLogger(__name__)

_FIRST, _LONGEST = 1.0, 5.0  # seconds between two looks at a database that does not answer


class Looks:
    """The loop of one who looks after what is due.

    Args:
        look: looks, and returns the seconds until the next time. May raise StoreUnavailable.
        what: one of what is looked after, for the log.
    """

    def __init__(self, look: Callable[[], Awaitable[float]], what: str) -> None:
        self._look = look
        self._what = what
        self._failed = 0  # looks at a database that did not answer, one after the other
        self._logged: type[Exception] | None = None  # of these, what the log has
        self._news = asyncio.Event()

    def hurry(self) -> None:
        """Look at once: there may be something."""
        self._news.set()

    async def run(self) -> None:
        """Go on until it is cancelled."""
        while True:
            self._news.clear()
            try:
                pause = await self._look()
            except StoreUnavailable as error:
                await asyncio.sleep(self._away(error))
                continue
            except Exception:
                # It would be missed by all of them.
                log.exception("the %ss that are due could not be looked at", self._what)
                await asyncio.sleep(_LONGEST)
                continue
            self._back()
            await self._wait(pause * random.uniform(0.8, 1.2))

    async def _wait(self, seconds: float) -> None:
        """Wait for so long, or until there is something; and let others have their turn."""
        waiting = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait({waiting}, timeout=seconds)
        finally:
            waiting.cancel()

    def _away(self, error: StoreUnavailable) -> float:
        """The database is of no help. Returns seconds until the next time."""
        if self._logged is not type(error):
            self._logged = type(error)
            log.warning("no %s is looked after: %s", self._what, error)
        if isinstance(error, SchemaMissing):
            return _LONGEST
        self._failed += 1
        return backoff(self._failed, _FIRST, _LONGEST)

    def _back(self) -> None:
        if self._logged is not None:
            log.info("%ss are looked after again", self._what)
        self._failed, self._logged = 0, None
