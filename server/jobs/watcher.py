"""Those who wait for news of jobs: one look at the database for all of them."""

import asyncio
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from math import inf

from server.jobs.model import Store, StoreUnavailable

log = logging.getLogger(__name__)

_INTERVAL = 0.5  # seconds between two looks
_TIMEOUT = 2.0  # seconds for one


class TooManyWatches(Exception):
    """As many wait as may."""


class Watch:
    """One who waits for news of one job."""

    def __init__(self) -> None:
        self._version: float = -inf  # that its reader has
        self._found: float = -inf  # that a look has found since; inf for a job that is gone
        self._news = asyncio.Event()
        self._over = False

    async def changed(self, version: int, timeout: float) -> bool:
        """Wait until the job has a later version, is gone, or the watcher is closed, at most `timeout` seconds.

        Returns False when the time is over. What has changed is for the caller to look at; it may be nothing.
        """
        self._version = version
        if self._found <= version and not self._over:
            self._news.clear()
        try:
            await asyncio.wait_for(self._news.wait(), timeout)
        except (TimeoutError, asyncio.TimeoutError):
            return False
        # Should the caller not find it, as its look fails, the watcher's next one wakes it again.
        self._found = -inf
        return True

    def notify(self, found: int | None) -> None:
        """A look has found this version; None for no job."""
        self._found = inf if found is None else found
        if self._found > self._version:
            self._news.set()

    def end(self) -> None:
        """Nothing more is waited for."""
        self._over = True
        self._news.set()


class Watcher:
    """Finds out which of the watched jobs have changed.

    A job that is changed by this process, or whose worker replies to it, is poked, so that it is looked at at once;
    all others are within half a second, and nothing is where nobody watches. While the database is away, those who
    wait go on waiting.

    Args:
        store: where the jobs are.
        limit: of watches at once.
        interval: seconds between two looks.
    """

    def __init__(self, store: Store, limit: int, interval: float = _INTERVAL) -> None:
        self._store = store
        self._limit = limit
        self._interval = interval
        self._watches: dict[str, set[Watch]] = {}  # by the ids of their jobs
        self._count = 0
        self._poked: set[str] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
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
        elif self._task is None:
            self._task = asyncio.create_task(self._run())
        try:
            yield watch
        finally:
            self._count -= 1
            watches.remove(watch)
            if not watches:
                del self._watches[job_id]
            if not self._watches:
                self._wake.set()

    def poke(self, job_id: str) -> None:
        """Look at a job at once, if it is watched: it may have changed."""
        if job_id in self._watches:
            self._poked.add(job_id)
            self._wake.set()

    def close(self) -> None:
        """Nobody waits any longer: the server stops."""
        self.closed = True
        self._wake.set()
        for watches in self._watches.values():
            for watch in watches:
                watch.end()

    async def _run(self) -> None:
        """Look at what is poked at once, and at all that is watched each interval, until nothing is."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._interval
        while self._watches and not self.closed:
            with suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(0.0, due - loop.time()))
            self._wake.clear()
            if loop.time() >= due:  # however often it is poked meanwhile
                due = loop.time() + self._interval
                self._poked.update(self._watches)
            poked, self._poked = self._poked & self._watches.keys(), set()
            if poked:
                await self._look(poked)
        self._task = None

    async def _look(self, job_ids: Collection[str]) -> None:
        try:
            found = await self._store.versions(job_ids, _TIMEOUT)
        except StoreUnavailable as error:
            log.warning("watched jobs could not be looked at: %s", error)
            return
        except Exception:  # those who wait must not depend on it
            log.exception("watched jobs could not be looked at")
            return
        for job_id in job_ids:
            for watch in self._watches.get(job_id, ()):
                watch.notify(found.get(job_id))
