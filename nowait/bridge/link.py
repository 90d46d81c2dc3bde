"""The bridge's two connections to the broker, as one thing that is up or down.

One publishes and one consumes: an alarm at the broker stops the publishing one, heartbeats
included, and must not stop the replies.

A canary, a message to the own reply queue twice a second, passes through both connections and the
broker. It comes back behind all replies that wait there, so the first one tells that these have
arrived; and one that does not come back tells of a broker that is frozen or out of reach long
before a heartbeat would.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Protocol
from uuid import uuid4

import amqp
from celery import Celery

from nowait.amqp import protocol
from nowait.bridge.confirms import Confirms
from nowait.bridge.connection import CHANNEL, HEARTBEAT, Connection, ConnectionLost, Opened, open_connection
from nowait.messages.reply import Request, canary

_CONNECT_TIMEOUT = 2.0  # seconds, for each step of connecting
_REPLY_QUEUE_EXPIRES = 300_000  # milliseconds without a consumer, after which the broker deletes it
_CANARY_PAUSE = 0.5  # seconds from a canary's return to the next one
_CANARY_TIMEOUT = 1.75  # seconds that one may be away while nothing else is heard
_CONFIRM_TIMEOUT = 5.0  # seconds
_ACKNOWLEDGE_PAUSE = 0.05  # seconds from a reply to its acknowledgement


class Listener(Protocol):
    """Who is told what happens on a link."""

    def on_caught_up(self) -> None:
        """All replies that waited when the link came up have been told."""

    def on_reply(self, reply: protocol.Delivery) -> None:
        """A reply arrived."""

    def on_unroutable(self, call_id: str, reason: str) -> None:
        """No queue took the call's message."""

    def on_settled(self, call_ids: list[str], acked: bool) -> None:
        """The broker took the messages of these calls, or refused them."""

    def on_unconfirmed(self, call_ids: list[str]) -> None:
        """The broker did not say in time whether it took the messages of these calls."""


class Connector:
    """Opens links, each to the next of the application's broker URLs.

    The reply queue is durable, and is kept for minutes without a consumer: replies outlive a lost
    connection.

    Args:
        app: its broker settings are used.
        reply_queue: the name of the reply queue.
        reply_exchange: an exchange that replies come through, by the queue's name; "" for the
            default one.
        executor: runs what blocks.
    """

    def __init__(self, app: Celery, reply_queue: str, reply_exchange: str, executor: Executor) -> None:
        self._name = self._reply_queue = reply_queue
        self._reply_exchange = reply_exchange
        self._executor = executor
        self._consumer = app.connection_for_read(heartbeat=HEARTBEAT, connect_timeout=_CONNECT_TIMEOUT)
        self._publisher = app.connection_for_write(heartbeat=HEARTBEAT, connect_timeout=_CONNECT_TIMEOUT)

    async def connect(self, listener: Listener) -> "Link":
        """A new link. Raises ConnectionLost; the next try goes to the next URL."""
        loop = asyncio.get_running_loop()
        consumer, publisher = await loop.run_in_executor(self._executor, self._open)
        return Link(consumer, publisher, self._reply_queue, self._reply_exchange, listener)

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
        try:
            channel.queue_declare(
                self._reply_queue,
                durable=True,
                auto_delete=False,
                arguments={"x-expires": _REPLY_QUEUE_EXPIRES},
            )
        except amqp.exceptions.ChannelError:
            # In a cluster, the queue may be on a node that is down, and its name with it.
            self._reply_queue = f"{self._name}.{uuid4().hex[:8]}"
            raise
        if self._reply_exchange:
            channel.queue_bind(self._reply_queue, self._reply_exchange, routing_key=self._reply_queue)


class Link:
    """Both connections, open; made by a Connector.

    Attributes:
        reply_queue: where the replies of this link go.
        lost: done, with the reason, when the link is down.
    """

    def __init__(
        self, consumer: Opened, publisher: Opened, reply_queue: str, reply_exchange: str, listener: Listener
    ) -> None:
        self._listener = listener
        self._confirms = Confirms()
        self._delivered = 0  # the last delivery tag that was not acknowledged yet
        self._acknowledge_planned = False
        self._loop = asyncio.get_running_loop()
        self.reply_queue = reply_queue
        self.lost: asyncio.Future[ConnectionLost] = self._loop.create_future()
        self._consumer = Connection(consumer, self._consumed, self._lose)
        self._publisher = Connection(publisher, self._published, self._lose)
        self._consumer.write(protocol.consume(CHANNEL, reply_queue))
        self._canary = canary(uuid4().hex, reply_exchange, reply_queue)
        self._caught_up = False
        self._watch: asyncio.TimerHandle | None = None
        self._send_canary()

    @property
    def blocked(self) -> str | None:
        """Why the broker takes no messages at the moment; None when it does."""
        return self._publisher.blocked

    @property
    def unconfirmed(self) -> int:
        """Messages that left and that the broker has not confirmed."""
        return len(self._confirms)

    def publish(self, request: Request) -> None:
        """Send a message; on_settled tells what became of it. Never blocks.

        Raises ValueError when the name of its exchange or routing key is too long.
        """
        self._publisher.write(
            protocol.publish(
                CHANNEL,
                request.exchange,
                request.routing_key,
                request.properties,
                request.body,
                self._publisher.frame_max,
            )
        )
        self._confirms.published(request.task_id, self._loop.time())

    async def close(self, timeout: float) -> None:
        """Delete the reply queue and close both connections.

        Args:
            timeout: seconds to wait for the broker; 0 leaves the queue and closes at once.
        """
        if self._watch is not None:
            self._watch.cancel()
        if timeout > 0:
            self._consumer.write(protocol.delete_queue(CHANNEL, self.reply_queue))
        await asyncio.gather(self._consumer.close(timeout), self._publisher.close(timeout))

    def _lose(self, reason: ConnectionLost) -> None:
        if self._watch is not None:
            self._watch.cancel()
        if not self.lost.done():
            self.lost.set_result(reason)

    def _consumed(self, event: protocol.Event) -> None:
        if isinstance(event, protocol.Delivery):
            self._delivered = event.tag
            if not self._acknowledge_planned:
                self._acknowledge_planned = True
                self._loop.call_later(_ACKNOWLEDGE_PAUSE, self._acknowledge)
            if event.correlation_id == self._canary.task_id:
                self._canary_returned()
            else:
                self._listener.on_reply(event)
        elif isinstance(event, protocol.Cancelled):
            self._lose(ConnectionLost("the reply queue was deleted"))

    def _acknowledge(self) -> None:
        # For all replies of the last while at once: nobody waits for it, and after a lost connection
        # the broker delivers at worst some replies a second time.
        self._acknowledge_planned = False
        self._consumer.write(protocol.ack(CHANNEL, self._delivered))

    def _published(self, event: protocol.Event) -> None:
        if isinstance(event, protocol.Settled):
            self._listener.on_settled(self._confirms.settle(event.tag, event.multiple), event.acked)
        elif isinstance(event, protocol.Returned):
            if event.correlation_id == self._canary.task_id:
                self._lose(ConnectionLost("the reply queue is gone"))
            else:
                self._listener.on_unroutable(event.correlation_id, event.reason)

    def _send_canary(self) -> None:
        now = self._loop.time()
        if self.blocked is None:
            # What waited for an alarm to end gets its time from then on.
            if now - self._publisher.flows_since > _CONFIRM_TIMEOUT:
                overdue = self._confirms.overdue(now - _CONFIRM_TIMEOUT)
                if overdue:
                    self._listener.on_unconfirmed(overdue)
            self.publish(self._canary)
            self._plan(_CANARY_TIMEOUT, self._check_canary)
        else:
            self._plan(_CANARY_PAUSE, self._send_canary)

    def _canary_returned(self) -> None:
        if not self._caught_up:
            self._caught_up = True
            self._listener.on_caught_up()
        self._plan(_CANARY_PAUSE, self._send_canary)

    def _check_canary(self) -> None:
        """Called when the canary has been away for long."""
        heard = min(self._consumer.heard, self._publisher.heard)
        if self.blocked is not None or self._loop.time() - heard < _CANARY_TIMEOUT:
            # Blocked, or behind so much else that it takes its time.
            self._plan(_CANARY_PAUSE, self._check_canary if self.blocked is None else self._send_canary)
        else:
            self._lose(ConnectionLost(f"nothing heard for {_CANARY_TIMEOUT:g} s"))

    def _plan(self, delay: float, step: Callable[[], None]) -> None:
        if self._watch is not None:
            self._watch.cancel()
        if not self.lost.done():
            self._watch = self._loop.call_later(delay, step)
