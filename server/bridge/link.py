"""The bridge's two connections to the broker, as one thing that is up or down.

One publishes and one consumes: an alarm at the broker stops the publishing one, heartbeats
included, and must not stop the replies.
"""

import asyncio
from concurrent.futures import Executor
from typing import Protocol

import amqp
from celery import Celery

from server.bridge import protocol
from server.bridge.confirms import Confirms
from server.bridge.connection import CHANNEL, HEARTBEAT, Connection, ConnectionLost, Opened, open_connection
from server.bridge.messages import Request

_CONNECT_TIMEOUT = 4.0  # seconds, for each step of connecting
_REPLY_QUEUE_EXPIRES = 300_000  # milliseconds without a consumer, after which the broker deletes it


class Listener(Protocol):
    """Who is told what happens on a link."""

    def on_reply(self, reply: protocol.Delivery) -> None:
        """A reply arrived."""

    def on_unroutable(self, call_id: str, reason: str) -> None:
        """No queue took the call's message."""

    def on_settled(self, call_ids: list[str], acked: bool) -> None:
        """The broker took the messages of these calls, or refused them."""


class Connector:
    """Opens links, each to the next of the application's broker URLs.

    Args:
        app: its broker settings are used.
        reply_queue: declared if need be; durable, and kept for minutes without a consumer, so
            that replies outlive a lost connection.
        executor: runs what blocks.
    """

    def __init__(self, app: Celery, reply_queue: str, executor: Executor) -> None:
        self._reply_queue = reply_queue
        self._executor = executor
        self._consumer = app.connection_for_read(heartbeat=HEARTBEAT, connect_timeout=_CONNECT_TIMEOUT)
        self._publisher = app.connection_for_write(heartbeat=HEARTBEAT, connect_timeout=_CONNECT_TIMEOUT)

    async def connect(self, listener: Listener) -> "Link":
        """A new link. Raises ConnectionLost; the next try goes to the next URL."""
        loop = asyncio.get_running_loop()
        consumer, publisher = await loop.run_in_executor(self._executor, self._open)
        return Link(consumer, publisher, self._reply_queue, listener)

    def _open(self) -> tuple[Opened, Opened]:
        try:
            consumer = open_connection(self._consumer, self._declare, _CONNECT_TIMEOUT)
            try:
                publisher = open_connection(self._publisher, amqp.Channel.confirm_select, _CONNECT_TIMEOUT)
            except ConnectionLost:
                consumer.sock.close()
                raise
        except ConnectionLost:
            self._consumer.maybe_switch_next()
            self._publisher.maybe_switch_next()
            raise
        return consumer, publisher

    def _declare(self, channel: amqp.Channel) -> None:
        channel.queue_declare(
            self._reply_queue,
            durable=True,
            auto_delete=False,
            arguments={"x-expires": _REPLY_QUEUE_EXPIRES},
        )


class Link:
    """Both connections, open; made by a Connector."""

    def __init__(self, consumer: Opened, publisher: Opened, reply_queue: str, listener: Listener) -> None:
        self._listener = listener
        self._reply_queue = reply_queue
        self._confirms = Confirms()
        self._delivered = 0  # the last delivery tag that was not acknowledged yet
        self._acknowledge_planned = False
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[ConnectionLost] = self._loop.create_future()
        self.blocked: str | None = None
        self._consumer = Connection(consumer, self._consumed, self._lose)
        self._publisher = Connection(publisher, self._published, self._lose)
        self._consumer.write(protocol.consume(CHANNEL, reply_queue))

    @property
    def unconfirmed(self) -> int:
        """Messages that left and that the broker has not confirmed."""
        return len(self._confirms)

    def publish(self, request: Request) -> None:
        """Send a task message; on_settled tells what became of it. Never blocks."""
        self._publisher.write(
            protocol.publish(
                CHANNEL, request.exchange, request.routing_key, request.properties, request.body,
                self._publisher.frame_max,
            )
        )
        self._confirms.published(request.task_id)

    async def close(self, timeout: float) -> None:
        """Delete the reply queue and close both connections.

        Args:
            timeout: seconds to wait for the broker; 0 leaves the queue and closes at once.
        """
        if timeout > 0:
            self._consumer.write(protocol.delete_queue(CHANNEL, self._reply_queue))
        await asyncio.gather(self._consumer.close(timeout), self._publisher.close(timeout))

    def _lose(self, reason: ConnectionLost) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)

    def _consumed(self, event: protocol.Event) -> None:
        if isinstance(event, protocol.Delivery):
            self._delivered = event.tag
            if not self._acknowledge_planned:
                self._acknowledge_planned = True
                self._loop.call_soon(self._acknowledge)
            self._listener.on_reply(event)
        elif isinstance(event, protocol.Cancelled):
            self._lose(ConnectionLost("the reply queue was deleted"))

    def _acknowledge(self) -> None:
        # After the replies of this tick, for all of them at once.
        self._acknowledge_planned = False
        self._consumer.write(protocol.ack(CHANNEL, self._delivered))

    def _published(self, event: protocol.Event) -> None:
        if isinstance(event, protocol.Settled):
            self._listener.on_settled(self._confirms.settle(event.tag, event.multiple), event.acked)
        elif isinstance(event, protocol.Returned):
            self._listener.on_unroutable(event.correlation_id, event.reason)
        elif isinstance(event, protocol.Blocked):
            self.blocked = event.reason
        elif isinstance(event, protocol.Unblocked):
            self.blocked = None
