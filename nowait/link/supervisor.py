"""Keeps a link up: connects, waits until it is lost, connects again, until it is cancelled."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial
from typing import Protocol

from nowait.amqp.methods import Event
from nowait.budget import Budget
from nowait.link.link import Link
from nowait.link.opener import ConnectionLost, Opened
from nowait.link.opening import opened

log = logging.getLogger(__name__)

_FIRST_DELAY, _LAST_DELAY = 0.1, 1.0  # seconds between tries to connect
_SHORT_LIFE = 0.5  # seconds of a link, below which the next one is not made at once


class Source(Protocol):
    """Opens connections: an Opener, or a test's."""

    def open(self) -> Opened:
        """Connect. Blocks. Raises ConnectionLost."""


async def supervise(
    source: Source,
    executor: Executor,
    on_connected: Callable[[Link], None],
    on_event: Callable[[Event], None],
    on_disconnected: Callable[[ConnectionLost], Awaitable[None]],
    budget: Budget,
    close_timeout: float = 0.0,
) -> None:
    """Keep a link up for ever. Nothing but being cancelled ends it: what is unexpected is logged and tried again.

    Args:
        source: opens its connections.
        executor: where that blocks.
        on_connected: called with each new link.
        on_event: called with what happens on the link, see Link.
        on_disconnected: awaited when the link is lost, before what is left of it is closed.
        budget: see Link.
        close_timeout: seconds in which the broker may read what was written to a connection that is not lost, when the
            other one is; 0 for none.
    """
    delay = _FIRST_DELAY
    while True:
        try:
            link = await opened(executor, source.open, partial(Link, on_event=on_event, budget=budget))
        except Exception as error:
            unexpected = None if isinstance(error, ConnectionLost) else error
            log.warning("broker connection failed, retrying in %.1f s: %s", delay, error, exc_info=unexpected)
            # Jitter, so that the servers of a fleet do not all come back in one moment.
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, _LAST_DELAY)
            continue
        connected = time.monotonic()
        try:
            log.info("broker connected")
            on_connected(link)
            reason = await asyncio.shield(link.lost)
            log.warning("broker connection lost: %s", reason)
            await on_disconnected(reason)
        except Exception:
            log.exception("broker connection given up")
            await on_disconnected(ConnectionLost("an unexpected error"))
        await link.close(close_timeout)
        if time.monotonic() - connected > _SHORT_LIFE:
            delay = _FIRST_DELAY
        else:
            # A broker that takes connections and ends them at once, because of what is done on them.
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LAST_DELAY)
