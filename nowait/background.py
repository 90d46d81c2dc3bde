"""Work on a loop that belongs to nobody who began it."""

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")


def begin(work: Coroutine[Any, Any, T], name: str) -> "asyncio.Task[T]":
    """Have it go on as a task in a context of its own.

    For what is begun by the first who needs it, and goes on for others: in the context of that one, it would be a part
    of a trace that has ended, and so would be what it logs.
    """
    return Context().run(asyncio.create_task, work, name=name)
