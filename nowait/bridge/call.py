"""A task, or another message, that was sent, as its caller sees it."""

import asyncio
import math
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from nowait.bridge.backlog import Place
from nowait.messages.outbound import OutboundMessage


def new_id() -> str:
    """The id of a task: a random UUID (version 4), for a third of what `uuid.uuid4` takes."""
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def seconds_of(timeout: float | None, default: float) -> float:
    """The seconds that a call may take; None for the default. Raises ValueError when that is no finite number."""
    seconds = default if timeout is None else timeout
    if not math.isfinite(seconds):
        raise ValueError("timeout: expected a finite number of seconds")
    return seconds


@dataclass(frozen=True)
class Progress:
    """What a task reports before its end, with `Task.update_state`.

    Attributes:
        state: STARTED, RETRY or a state of the task's own.
        meta: what it gave along, JSON values.
    """

    state: str
    meta: Any


class Call(asyncio.Future[Any]):
    """A task that was sent, or another message: awaitable, and a future with `add_done_callback`.

    Its result is what the task returned; its exception is one of `nowait.errors`. Cancelling it, or the
    coroutine that awaits it, ends it at once; the task may still run, its reply is dropped. `async for`
    over it yields the Progress that its task reports, until the call is done.

    Attributes:
        id: the task's id.
        name: of the task; None for a message that is no task.
        runtime: seconds that the task ran; None when the worker did not say, or not yet.
        worker: the name that its worker gave itself, unchecked; None when it gave none, or not yet.
        deadline, idempotent, expects_reply, queue, client, place, confirmed, destination, link, sent_at, confirmed_at:
            as in `nowait.bridge.calls.PendingCall`.
        lifetime: until when a worker may start the task, by the loop's clock; None for `deadline`.
        bounded: it is a message for a queue that may be full.
        message: makes the message of what may be sent again, for the seconds that are left.
    """

    __slots__ = (
        "id", "runtime", "worker", "deadline", "idempotent", "expects_reply", "encoded", "bounded", "confirmed",
        "queue", "client", "place", "destination", "link", "lifetime", "message", "name", "sent_at", "confirmed_at",
        "_listeners", "_abandon",
    )  # fmt: skip

    def __init__(self, call_id: str, deadline: float, idempotent: bool, abandon: Callable[["Call"], None]) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.id = call_id
        self.deadline = deadline
        self.idempotent = idempotent
        self.expects_reply = True
        self.encoded = False
        self.bounded = False
        self.confirmed = False
        self.queue = ""
        self.client = ""
        self.place: Place | None = None
        self.destination = ""
        self.link = 0
        self.name: str | None = None
        self.sent_at = 0.0
        self.confirmed_at: float | None = None
        self.runtime: float | None = None
        self.worker: str | None = None
        self.lifetime: float | None = None
        self.message: Callable[[float], OutboundMessage] | None = None
        self._listeners: tuple[Callable[[Progress], None], ...] = ()
        self._abandon = abandon

    def cancel(self, msg: Any = None) -> bool:
        """Stop waiting. Returns False when the call was done already."""
        cancelled = super().cancel(msg)
        if cancelled:
            self._abandon(self)
        return cancelled

    def listen(self, listener: Callable[[Progress], None]) -> None:
        """Have `listener` called, on the loop, with each Progress from now on."""
        self._listeners = (*self._listeners, listener)

    def report(self, progress: Progress) -> None:
        """Call the listeners, soon."""
        for listener in self._listeners:
            self.get_loop().call_soon(listener, progress)

    def complete(self, outcome: Any) -> None:
        """End with a result, or an exception, unless it has ended before."""
        if self.done():
            return
        if isinstance(outcome, Exception):
            self.set_exception(outcome)
        else:
            self.set_result(outcome)

    async def __aiter__(self) -> AsyncIterator[Progress]:
        reports: asyncio.Queue[Progress | None] = asyncio.Queue()
        self.listen(reports.put_nowait)
        self.add_done_callback(lambda _: reports.put_nowait(None))
        while (progress := await reports.get()) is not None:
            yield progress
