"""What the workers offer, queries or jobs, as they last listed it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from math import inf
from typing import Any, Generic, Protocol, TypeVar

from nowait import background
from nowait.errors import DeadlineExceeded

log = logging.getLogger(__name__)

_MAX_AGE = 60.0  # seconds after which the list is fetched again, in the background
_MIN_AGE = 2.0  # seconds before that, even for a name that is not in it
_FETCH_TIMEOUT = 10.0  # seconds


class Named(Protocol):
    """What can be listed."""

    @property
    def name(self) -> str:
        """Its name; no other has it."""


T = TypeVar("T", bound=Named)


class Catalogue(Generic[T]):
    """Queries or jobs, by name. The workers own them.

    What was fetched last is served at once, however old it is, and fetched again in the background.

    Args:
        kind: what is listed, in the plural, for the log.
        read: makes one of the document that a worker sends of it; raises ValueError when that one is of no use, so that
            it is left out, and anything else when the list is none.
        fetch: sends the task that lists them, with a timeout in seconds, and awaits its result.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        kind: str,
        read: Callable[[Mapping[str, Any]], T],
        fetch: Callable[[float], Awaitable[Any]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kind = kind
        self._read = read
        self._fetch = fetch
        self._clock = clock
        self._documents: Any = None
        self._listed: dict[str, T] | None = None
        self._fetched_at = self._tried_at = -inf
        self._refresh_task: asyncio.Task[None] | None = None

    def known(self, name: str) -> T | None:
        """The one of that name in the list that was fetched last; None when it is not there."""
        self._refresh_in_background()
        return self._listed.get(name) if self._listed else None

    def listed(self) -> list[T]:
        """Those of the list that was fetched last; none when there never was one."""
        self._refresh_in_background()
        return list((self._listed or {}).values())

    async def get(self, name: str, timeout: float) -> T | None:
        """As known(), with a list that is at most seconds old when the name is not in it.

        Raises DeadlineExceeded, or what `fetch` raises, when that list cannot be had within `timeout` seconds.
        """
        if self.known(name) is None:
            await self._refreshed(timeout)
        return self.known(name)

    async def all(self, timeout: float) -> list[T]:
        """All of them. Raises as get() when there never was a list."""
        if self._listed is None:
            await self._refreshed(timeout)
        self._refresh_after(_MAX_AGE)
        return list((self._listed or {}).values())

    def _refresh_in_background(self) -> None:
        # As nobody waits for it, a list that cannot be had is not tried for with each call.
        if self._clock() - self._tried_at >= _MIN_AGE:
            self._refresh_after(_MAX_AGE)

    async def _refreshed(self, timeout: float) -> None:
        """Wait for a list that is younger than _MIN_AGE. Many callers fetch once."""
        task = self._refresh_after(_MIN_AGE)
        if task is not None:
            # A caller that leaves, or has less time, ends it for no other.
            done, _ = await asyncio.wait([task], timeout=timeout)
            if not done:
                raise DeadlineExceeded(f"the workers have not listed their {self._kind} in time")
            task.result()

    def _refresh_after(self, age: float) -> "asyncio.Task[None] | None":
        """Fetch the list when it is older than `age` seconds; None when it is not, or was just tried in vain."""
        if self._refresh_task is not None and not self._refresh_task.done():
            return self._refresh_task
        now = self._clock()
        if self._listed is not None and (now - self._fetched_at < age or now - self._tried_at < _MIN_AGE):
            return None
        self._refresh_task = background.begin(self._refresh(), self._kind)
        # Its failure is raised to those who wait, and to nobody when all have left.
        self._refresh_task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._refresh_task

    async def _refresh(self) -> None:
        self._tried_at = self._clock()
        try:
            documents = await self._fetch(_FETCH_TIMEOUT)
            # What is as before remains the same objects: who has made something of them sees it by that.
            if self._listed is None or documents != self._documents:
                self._listed = {each.name: each for each in self._usable(documents)}
                self._documents = documents
            self._fetched_at = self._clock()
        except Exception as error:
            log.warning("the list of %s could not be fetched: %s: %s", self._kind, type(error).__name__, error)
            raise

    def _usable(self, documents: Iterable[Mapping[str, Any]]) -> Iterator[T]:
        for document in documents:
            try:
                yield self._read(document)
            except ValueError as error:
                log.warning("one of the %s is left out: %s: %s", self._kind, str(document.get("name"))[:100], error)
