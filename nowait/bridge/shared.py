"""A connection for many, which the first of them opens, with channels for each.

What the broker does not like of one of them ends its channel, or this connection, and no call of a task.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

from nowait import background
from nowait.amqp import methods
from nowait.bridge.channels import Channels
from nowait.budget import Budget
from nowait.errors import BridgeError, Disconnected, Stopped
from nowait.link.connection import Connection
from nowait.link.opener import ConnectionLost, OpenSocket
from nowait.link.opening import opened

log = logging.getLogger(__name__)

_MAX_BYTES = 256 * 1024 * 1024  # of bodies that are not small, of all channels together
_PAUSE = 0.25  # seconds for which those who come meanwhile have the same failure to connect


class Source(Protocol):
    """Opens a connection: a SingleOpener, or a test's."""

    def open(self) -> OpenSocket:
        """Connect. Blocks. Raises ConnectionLost."""


H = TypeVar("H")


class SharedConnection(Generic[H]):
    """The connection, and who has which of its channels.

    Args:
        source: opens it.
        name: what it is for, in the log.
        on_event: called with who has a channel and what came on it. With Closed, the channel is gone.
        on_lost: called with each of them when the connection is lost or closed, and why.
    """

    def __init__(
        self,
        source: Source,
        name: str,
        on_event: Callable[[H, methods.ChannelEvent], None],
        on_lost: Callable[[H, BridgeError], None],
    ) -> None:
        self._source = source
        self._name = name
        self._on_event = on_event
        self._on_lost = on_lost
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"bridge-{name}")
        self._opening: asyncio.Task[Connection] | None = None
        self._channels: Channels[H] = Channels(0)
        self._stopped = False
        self.current: Connection | None = None

    def __len__(self) -> int:
        """Channels."""
        return len(self._channels)

    def __repr__(self) -> str:
        return f"<SharedConnection {self._name}, {'open' if self.current else 'not open'}, {len(self)} channels>"

    async def connected(self) -> Connection:
        """The connection, which is opened where there is none. Raises Disconnected, Stopped."""
        if self._stopped:
            raise Stopped("the bridge is stopping")
        if (current := self.current) is not None:
            return current
        if self._opening is None:
            self._opening = background.begin(self._open(), self._name)
            # An error is for those who wait, and for nobody when all have left.
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            # One that leaves ends it for no other.
            connection = await asyncio.shield(self._opening)
        except ConnectionLost as error:
            raise Disconnected(f"no connection to the broker: {error}") from error
        except asyncio.CancelledError:
            if self._stopped:
                raise Stopped("the bridge is stopping") from None
            raise
        if connection is not self.current:
            raise Disconnected("the connection was lost as soon as it was open")
        return connection

    def open(self, connection: Connection, make: Callable[[int], H]) -> H:
        """Open a channel of the connection that connected() gave; `make` makes who has it. Raises Overloaded."""
        channel = self._channels.take()
        holder = make(channel)
        self._channels.opened(channel, holder)
        connection.write(methods.open_channel(channel))
        return holder

    def close(self, channel: int, holder: H) -> None:
        """Close a channel, unless it is gone."""
        if self.current is not None and self._channels.on(channel) is holder:
            self._channels.close(channel)
            self.current.write(methods.close_channel(channel))

    def lose(self, reason: str) -> None:
        """Give the connection up; the next one who comes opens it again."""
        if self.current is not None:
            self.current.lose(reason)

    async def stop(self, timeout: float) -> None:
        """Close it for good; `timeout` is seconds for the broker to do so."""
        self._stopped = True
        if self._opening is not None:
            self._opening.cancel()
        connection = self.current
        self._end(Stopped("the bridge is stopping"))
        if connection is not None:
            await connection.close(timeout)
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _open(self) -> Connection:
        try:
            self.current = await opened(self._executor, self._source.open, self._take_over)
        except Exception as error:
            # Clients that come again at once have the broker asked no more often than this.
            await asyncio.sleep(_PAUSE * random.uniform(0.5, 1.0))
            if isinstance(error, ConnectionLost):
                raise
            log.exception("the connection of the %s could not be opened", self._name)
            raise ConnectionLost(f"{type(error).__name__}: {error}") from error
        finally:
            self._opening = None
        self._channels = Channels(self.current.channel_max)
        return self.current

    def _take_over(self, opened: OpenSocket) -> Connection:
        return Connection(opened, self._received, self._lost, Budget(_MAX_BYTES, _MAX_BYTES))

    def _lost(self, reason: ConnectionLost) -> None:
        log.warning("the connection of the %s was lost: %s", self._name, reason)
        self._end(Disconnected(f"the connection was lost: {reason}"))

    def _end(self, error: BridgeError) -> None:
        self.current = None
        holders, self._channels = list(self._channels), Channels(0)
        for holder in holders:
            self._on_lost(holder, error)

    def _received(self, event: methods.Event) -> None:
        if self.current is None or isinstance(event, (methods.Blocked, methods.Unblocked, methods.CloseOk)):
            return  # it is being closed; or that is for the connection
        if isinstance(event, methods.ChannelCloseOk):
            self._channels.closed(event.channel)
        elif isinstance(event, methods.Closed):
            self.current.write(methods.confirm_closed(event.channel))
            if (holder := self._channels.lost(event.channel)) is not None:
                self._on_event(holder, event)
        elif (holder := self._channels.on(event.channel)) is not None:
            self._on_event(holder, event)
