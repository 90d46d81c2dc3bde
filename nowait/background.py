"""Work on a loop that belongs to nobody who began it.

In the context of the first who needs it, it would be a part of a trace that has ended, and so would be what it logs.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")


def begin(work: Coroutine[Any, Any, T], name: str) -> "asyncio.Task[T]":
    """Have it go on as a task in a context of its own."""
    return Context().run(asyncio.create_task, work, name=name)


def at(moment: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
    """Have it called at that time of the running loop, in a context of its own."""
    return asyncio.get_running_loop().call_at(moment, callback, context=Context())
