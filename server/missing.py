"""Queues that are declared when they are missed, where the topology has it so."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from nowait.errors import Unroutable
from server.bridge import Messages

T = TypeVar("T")


async def declaring(
    messages: Messages, queue: str, arguments: Mapping[str, Any] | None, act: Callable[[], Awaitable[T]]
) -> T:
    """Do something with a queue; when it is missing, declare it and do that once more.

    Args:
        messages: the bridge.
        queue: its name.
        arguments: what it is declared with; None for a broker that has all queues already.
        act: what is done.

    Raises what `act` raises.
    """
    try:
        return await act()
    except Unroutable:
        if arguments is None:
            raise
    await messages.declare(queue, arguments)
    return await act()
