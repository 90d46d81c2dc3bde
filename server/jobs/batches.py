"""What is asked for while the database is busy with what was asked for before: done together, in one transaction."""

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Generic, TypeVar

from nowait import background
from server.jobs.model import StoreUnavailable

_MOST = 100  # of a batch
_WORTH = 0.1  # of its time, that an item has to have left: with less, others would fail with it

A = TypeVar("A")
R = TypeVar("R")


@dataclass
class _Waiting(Generic[A, R]):
    item: A
    size: int
    ends: float  # by the loop's clock
    begins: float  # by then, or not at all: a batch has as long as the one of its items that has least
    result: "Future[R]"


class Batches(Generic[A, R]):
    """One batch at a time, of all that has come meanwhile: who is alone waits for nobody.

    Args:
        carry_out: does the work of a batch within so many seconds; returns what has come of each, in their order, an
            exception for one that has failed alone. What it raises is raised for each.
        largest: the sum of sizes of a batch; one that is larger by itself is a batch of its own.
    """

    def __init__(self, carry_out: Callable[[Sequence[A], float], Awaitable[Sequence[R | Exception]]], largest: int):
        self._carry_out = carry_out
        self._largest = largest
        self._waiting: deque[_Waiting[A, R]] = deque()
        self._running: asyncio.Task[None] | None = None

    async def add(self, item: A, size: int, timeout: float) -> R:
        """What comes of an item. Raises StoreUnavailable after `timeout` seconds."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeout
        waiting: _Waiting[A, R] = _Waiting(item, size, ends, ends - _WORTH * timeout, loop.create_future())
        self._waiting.append(waiting)
        if self._running is None:
            self._running = background.begin(self._run(), "batches")
        try:
            await asyncio.wait({waiting.result}, timeout=timeout)
        finally:
            # Nobody waits for it any more: it is left out, unless its batch has begun.
            waiting.result.cancel()
        if waiting.result.cancelled():
            raise StoreUnavailable(f"no answer from the database within {timeout:g} s")
        return waiting.result.result()

    async def _run(self) -> None:
        try:
            while batch := self._next():
                await self._try(batch)
        finally:
            self._running = None

    async def _try(self, batch: list[_Waiting[A, R]]) -> None:
        left = min(waiting.ends for waiting in batch) - asyncio.get_running_loop().time()
        try:
            results = await self._carry_out([waiting.item for waiting in batch], left)
        except Exception as error:
            # Another one for each, as what has been raised knows all frames that it went through.
            results = [copy(error) for _ in batch]
        for waiting, result in zip(batch, results):
            if waiting.result.done():
                continue
            if isinstance(result, Exception):
                waiting.result.set_exception(result)
            else:
                waiting.result.set_result(result)

    def _next(self) -> list[_Waiting[A, R]]:
        batch: list[_Waiting[A, R]] = []
        size, now = 0, asyncio.get_running_loop().time()
        while self._waiting and len(batch) < _MOST:
            first = self._waiting[0]
            if not first.result.done() and now < first.begins:
                size += first.size
                if batch and size > self._largest:
                    break
                batch.append(first)
            self._waiting.popleft()
        return batch
