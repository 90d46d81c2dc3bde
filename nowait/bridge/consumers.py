"""Consumers of queues that others fill, on a connection of their own, which the first of them opens.

What the broker does not like of a consumer ends its channel, or this connection, and no call.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Protocol

from nowait.amqp import methods
from nowait.bridge.channels import Channels, error_of
from nowait.bridge.consumer import Consumer
from nowait.budget import Budget
from nowait.errors import Disconnected, Stopped, Unroutable
from nowait.link.connection import Connection
from nowait.link.opener import ConnectionLost, OpenSocket

log = logging.getLogger(__name__)

_MAX_BYTES = 256 * 1024 * 1024  # of bodies that are not small, of all consumers together


class Source(Protocol):
    """Opens a connection: a SingleOpener, or a test's."""

    def open(self) -> OpenSocket:
        """Connect. Blocks. Raises ConnectionLost."""

    def do(self, act: Callable[[Any], None]) -> None:
        """Connect, do something on a channel, close. Blocks. Raises ConnectionLost."""


class Consumers:
    """The consumers of one bridge.

    Args:
        source: opens the connection.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="bridge-consume")
        self._connection: Connection | None = None
        self._opening: asyncio.Task[Connection] | None = None
        self._channels: Channels[Consumer] = Channels()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._channels)

    def __repr__(self) -> str:
        return f"<Consumers {len(self)}, {'connected' if self._connection else 'not connected'}>"

    @asynccontextmanager
    async def consume(
        self, queue: str, prefetch: int, arguments: bytes = methods.NO_TABLE
    ) -> AsyncIterator[Consumer]:
        """Consume a queue for as long as the block lasts; what is not acknowledged by then goes back to it.

        Args:
            queue: its name.
            prefetch: deliveries that may be unacknowledged, 1 to 65535.
            arguments: of the consumer, an encoded table.

        Raises Stopped, Disconnected, Overloaded; Unroutable when there is no such queue, Refused when it may not be
        consumed.
        """
        if not 1 <= prefetch <= 65535:
            raise ValueError(f"prefetch: expected 1 to 65535, not {prefetch}")
        connection = await self._connected()
        channel = self._channels.take()
        consumer = Consumer(channel, connection.write)
        self._channels.opened(channel, consumer)
        opened = methods.open_channel(channel) + methods.qos(channel, prefetch, False)
        connection.write(opened + methods.consume(channel, queue, arguments=arguments))
        try:
            await consumer.started()
            yield consumer
        finally:
            if self._connection is connection and self._channels.on(channel) is consumer:
                self._channels.close(channel)
                connection.write(methods.close_channel(channel))
            consumer.fail(Stopped("the consumer was closed"))

    async def do(self, act: Callable[[Any], None]) -> None:
        """Do something on a channel of another connection, with py-amqp's methods. Raises Disconnected, Stopped."""
        if self._stopped:
            raise Stopped("the bridge is stopping")
        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._source.do, act)
        except ConnectionLost as error:
            raise Disconnected(str(error)) from error

    async def stop(self, timeout: float) -> None:
        """End all consumers; `timeout` is seconds for the broker to close."""
        self._stopped = True
        if self._opening is not None:
            self._opening.cancel()
        connection = self._connection
        self._lose(Stopped("the bridge is stopping"))
        if connection is not None:
            await connection.close(timeout)
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _connected(self) -> Connection:
        """The connection, which is opened where there is none."""
        if self._stopped:
            raise Stopped("the bridge is stopping")
        if self._connection is not None:
            return self._connection
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name="consumers")
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
        self._check(connection)
        return connection

    def _check(self, connection: Connection) -> None:
        """Raise Disconnected or Stopped when it has ended since it was opened: a consumer on it would wait for ever."""
        if self._stopped:
            raise Stopped("the bridge is stopping")
        if self._connection is not connection:
            raise Disconnected("the connection was lost as soon as it was there")

    async def _open(self) -> Connection:
        try:
            opening = self._executor.submit(self._source.open)
            try:
                opened = await asyncio.wrap_future(opening)
            except BaseException:
                # Cancelled, perhaps, while the thread is still connecting: what it opens then is nobody's.
                opening.add_done_callback(_close)
                raise
            self._channels = Channels()
            self._connection = Connection(opened, self._received, self._lost, Budget(_MAX_BYTES, _MAX_BYTES))
            return self._connection
        finally:
            self._opening = None

    def _lost(self, reason: ConnectionLost) -> None:
        log.warning("the connection of the consumers was lost: %s", reason)
        self._lose(Disconnected(f"the connection was lost: {reason}"))

    def _lose(self, error: Disconnected | Stopped) -> None:
        self._connection = None
        for consumer in self._channels:
            consumer.fail(error)

    def _received(self, event: methods.Event) -> None:
        if self._connection is None:
            return  # it is being closed
        if isinstance(event, methods.Delivery):
            if (consumer := self._channels.on(event.channel)) is not None:
                consumer.received(event)
        elif isinstance(event, methods.Consuming):
            if (consumer := self._channels.on(event.channel)) is not None:
                consumer.consuming()
        elif isinstance(event, methods.ChannelCloseOk):
            self._channels.closed(event.channel)
        elif isinstance(event, methods.Closed):
            self._connection.write(methods.confirm_closed(event.channel))
            if (consumer := self._channels.lost(event.channel)) is not None:
                consumer.fail(error_of(event.code, event.reason))
        elif isinstance(event, methods.Cancelled):
            if (consumer := self._channels.on(event.channel)) is not None:
                self._channels.close(event.channel)
                self._connection.write(methods.close_channel(event.channel))
                consumer.fail(Unroutable("the queue was deleted"))


def _close(opening: "Future[OpenSocket]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().sock.close()
