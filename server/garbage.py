"""The garbage collector of a server: all requests wait while it looks."""

import asyncio
import gc
from collections.abc import Sized

from nowait import garbage

_PAUSE = 30.0  # seconds from one full collection to the next
_FEW = 100  # connections, below which it is made
_LONGEST = 3600.0  # seconds from one to the next, however many there are


def spare() -> None:
    """Have it look at what comes from now on alone. Called once, when all is imported."""
    # Each request that waits has a hundred objects. What is new is all that has come since the last look and is still
    # there: with 400 that wait, 20 ms. It is looked at when there is so much more than there was at the least: at
    # 2,000, once a second, as some come and some go; at Python's 700, each request would pay to have the others looked
    # at. And full collections, which take long with many clients, are left to collect().
    garbage.spare(10_000, 5, 1_000)


async def collect(connections: Sized) -> None:
    """Have it look at everything from time to time, while few of these connections are open; or once an hour.

    With the objects of thousands of them it takes 0.3 s.
    """
    loop = asyncio.get_running_loop()
    last = loop.time()
    while True:
        await asyncio.sleep(_PAUSE)
        if len(connections) < _FEW or loop.time() >= last + _LONGEST:
            gc.collect()
            last = loop.time()
