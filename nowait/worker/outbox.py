"""Where the replies of the task go that this thread is running: a batch, or the broker itself."""

import os
from contextvars import ContextVar
from typing import Protocol

from nowait.messages.outbound import OutboundMessage


class Outbox(Protocol):
    """Takes replies; they are confirmed later, by others."""

    def send(self, message: OutboundMessage) -> None:
        """Have a reply sent; returns at once, and never raises."""


# That of the task that is being run; None where replies are to be confirmed before the task goes on.
outbox: ContextVar[Outbox | None] = ContextVar("outbox", default=None)
# What a task forks has nobody who would send a batch.
os.register_at_fork(after_in_child=lambda: outbox.set(None))
