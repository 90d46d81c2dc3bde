"""Connecting in a thread, for the loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Protocol, TypeVar


class Closable(Protocol):
    """What was opened."""

    def close(self) -> None:
        """Close it."""


T = TypeVar("T", bound=Closable)
R = TypeVar("R")


async def opened(executor: Executor, connect: Callable[[], T], take_over: Callable[[T], R]) -> R:
    """What `take_over` makes on the loop of what `connect` opens in a thread; raises what they raise."""
    opening = executor.submit(connect)
    try:
        return take_over(await asyncio.wrap_future(opening))
    except BaseException:
        # Cancelled, perhaps, while the thread is still connecting: what it opens then is nobody's.
        opening.add_done_callback(_close)
        raise


def _close(opening: "Future[T]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
