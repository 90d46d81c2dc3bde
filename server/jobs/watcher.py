"""Those who wait for news of jobs: one look at the database for all of them."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

from nowait import background
from server.jobs.model import Job, Store, StoreUnavailable

log = logging.getLogger(__name__)

_INTERVAL = 0.5  # seconds between two looks
_TIMEOUT = 2.0  # seconds for one, and for a job that is read


class TooManyWatches(Exception):
    """As many wait as may."""


class Watch:
    """One who waits for news of one job."""

    def __init__(self) -> None:
        self._version: float = -inf  # that its reader has
        self._found: float = -inf  # that there is, as far as is known; inf for a job that is worth a look in any case
        self._news = asyncio.Event()
        self._over = False

    async def changed(self, version: int, timeout: float) -> bool:
        """Wait until the job may be of another version than `version`, or the watcher is closed.

        Returns False when `timeout` seconds are over.
        """
        self._version = version
        if self._found <= version and not self._over:
            self._news.clear()
        try:
            await asyncio.wait_for(self._news.wait(), timeout)
        except (TimeoutError, asyncio.TimeoutError):
            return False
        # Should the caller not find the news, as the database is away, the watcher's next look brings it again.
        self._found = -inf
        return True

    def notify(self, found: float) -> None:
        """This version was found."""
        self._found = found
        if found > self._version:
            self._news.set()

    def end(self) -> None:
        """Nothing more is waited for."""
        self._over = True
        self._news.set()


class Watcher:
    """Finds out which of the watched jobs have changed, and reads them.

    A job that this process has changed, or whose worker has answered, is poked, and those who watch it have a look at
    once; all other changes are found within half a second. Nothing is looked at where nobody watches. While the
    database is away, those who wait go on waiting.

    Args:
        store: where the jobs are.
        limit: of watches at once.
        interval: seconds between two looks.

    Attributes:
        closed: nobody waits any more.
    """

    def __init__(self, store: Store, limit: int, interval: float = _INTERVAL) -> None:
        self._store = store
        self._limit = limit
        self._interval = interval
        self._watches: dict[str, set[Watch]] = {}  # by the ids of their jobs
        self._count = 0
        self._looking: asyncio.Task[None] | None = None
        self._readings: dict[tuple[str, str | None], asyncio.Task[Job | None]] = {}  # by id and owner
        self.closed = False

    def __len__(self) -> int:
        """Watches."""
        return self._count

    def __repr__(self) -> str:
        return f"<Watcher {self._count} watches of {len(self._watches)} jobs>"

    @contextmanager
    def watch(self, job_id: str) -> Iterator[Watch]:
        """Watch a job. Raises TooManyWatches."""
        if self._count >= self._limit:
            raise TooManyWatches(f"{self._limit} watches")
        watch = Watch()
        watches = self._watches.setdefault(job_id, set())
        watches.add(watch)
        self._count += 1
        if self.closed:
            watch.end()
        elif self._looking is None:
            self._looking = background.begin(self._keep_looking(), "watcher")
        try:
            yield watch
        finally:
            self._count -= 1
            watches.remove(watch)
            if not watches:
                del self._watches[job_id]

    def poke(self, job_id: str) -> None:
        """Have those who watch a job look at it: it has changed, most likely."""
        for watch in self._watches.get(job_id, ()):
            watch.notify(inf)

    async def read(self, job_id: str, owner: str | None) -> Job | None:
        """As `Store.get`, once for all who read the same job at the same time. Raises StoreUnavailable.

        Who comes while it is read may get it as it was just before; a later change is news again.
        """
        key = job_id, owner
        reading = self._readings.get(key)
        if reading is None:
            self._readings[key] = reading = asyncio.ensure_future(self._read(job_id, owner))
            # An error is for those who wait, and for nobody when all have left.
            reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        # One that leaves ends it for no other.
        return await asyncio.shield(reading)

    def close(self) -> None:
        """Nobody waits any longer: the server stops."""
        self.closed = True
        if self._looking is not None:
            self._looking.cancel()
        for watches in self._watches.values():
            for watch in watches:
                watch.end()

    async def _read(self, job_id: str, owner: str | None) -> Job | None:
        try:
            return await self._store.get(job_id, owner, _TIMEOUT)
        finally:
            del self._readings[job_id, owner]

    async def _keep_looking(self) -> None:
        """Look at all that is watched, until nothing is."""
        try:
            await asyncio.sleep(self._interval)
            while self._watches and not self.closed:  # its cancellation may be lost in an answer
                await self._look()
                await asyncio.sleep(self._interval)
        finally:
            self._looking = None

    async def _look(self) -> None:
        try:
            versions = await self._store.versions(set(self._watches), _TIMEOUT)
        except StoreUnavailable as error:
            log.warning("watched jobs could not be looked at: %s", error)
            return
        except Exception:  # those who wait must not depend on it
            log.exception("watched jobs could not be looked at")
            return
        for job_id, watches in self._watches.items():
            for watch in watches:
                # One that is not there is worth a look, too: it is gone, or has come since.
                watch.notify(versions.get(job_id, inf))
