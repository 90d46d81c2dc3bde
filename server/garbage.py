"""The garbage collector of a server: all requests wait while it looks."""

import asyncio
import gc
from collections.abc import Sized

from nowait import garbage

_PAUSE = 30.0  # seconds from one full collection to the next
_FEW = 100  # connections, below which it is made


def spare() -> None:
    """Have it look at what comes from now on alone. Called once, when all is imported."""
    # Each request that waits for a worker has a hundred objects: at Python's 700, each would pay to have the others
    # looked at. And full collections, which take long with many clients, are left to collect().
    garbage.spare(2_000, 20, 20)


async def collect(connections: Sized) -> None:
    """Have it look at everything from time to time, while few of these connections are open.

    With the objects of thousands of them it takes 0.3 s.
    """
    while True:
        await asyncio.sleep(_PAUSE)
        if len(connections) < _FEW:
            gc.collect()
