"""A task that was sent, as whoever awaits it sees it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from nowait.messages.encoder import Args, Kwargs


@dataclass(frozen=True)
class Progress:
    """What a task tells before its end, with `Task.update_state`.

    Attributes:
        state: STARTED, RETRY or a state of the task's own.
        meta: what it gave along, JSON values.
    """

    state: str
    meta: Any


class Call(asyncio.Future[Any]):
    """A task that was sent: awaitable, and a future with `add_done_callback`.

    Its result is what the task returned; its exception is one of `nowait.errors`.
    Cancelling it, or the coroutine that awaits it, takes it off the table at once; the task may
    still run, its reply is dropped. `async for` over it yields the Progress that its task tells,
    until the call is done.

    Attributes:
        id: the task's id.
        confirmed: True when the broker has the task's message.
        idempotent: True when the task may run twice: it is sent again after a lost connection.
        replies: False when no reply ever comes, as the result is ignored.
        run: seconds that the task ran; None when the worker did not say, or not yet.
    """

    __slots__ = ("id", "confirmed", "idempotent", "replies", "run", "timer", "listeners", "again", "_abandon")

    def __init__(self, call_id: str, abandon: Callable[["Call"], None], idempotent: bool = False) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.id = call_id
        self.confirmed = False
        self.idempotent = idempotent
        self.replies = True
        self.run: float | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.listeners: list[Callable[[Progress], None]] | None = None
        self.again: tuple[str, Args, Kwargs, dict[str, Any]] | None = None
        self._abandon = abandon

    def cancel(self, msg: Any = None) -> bool:
        """Stop waiting. Returns False when the call was done already."""
        cancelled = super().cancel(msg)
        if cancelled:
            self._abandon(self)
        return cancelled

    def listen(self, listener: Callable[[Progress], None]) -> None:
        """Have `listener` called, on the loop, with each Progress from now on."""
        self.listeners = [*(self.listeners or ()), listener]

    async def __aiter__(self) -> AsyncIterator[Progress]:
        told: asyncio.Queue[Progress | None] = asyncio.Queue()
        self.listen(told.put_nowait)
        self.add_done_callback(lambda _: told.put_nowait(None))
        while (progress := await told.get()) is not None:
            yield progress
