"""Messages that are no tasks, published on a connection of their own.

Each exchange has a channel of its own: one that is not there, or must not be written to, costs what goes to it alone.
"""

import asyncio
from collections.abc import Callable
from copy import copy

from nowait import background
from nowait.amqp import methods
from nowait.bridge.call import Call
from nowait.bridge.channels import error_of
from nowait.bridge.confirms import Confirms
from nowait.bridge.shared import SharedConnection, Source
from nowait.errors import (
    Blocked,
    BridgeError,
    DeadlineExceeded,
    Disconnected,
    MessageTooLarge,
    OutcomeUnknown,
    Overloaded,
    QueueFull,
    Refused,
    Stopped,
    Unroutable,
)
from nowait.link.connection import Connection
from nowait.messages.outbound import OutboundMessage

_OF_THE_EXCHANGE = {403, 404}  # codes of a channel that was closed because of it, and not of a message


class _Exchange:
    """An exchange, as one channel has it."""

    def __init__(self, name: str, channel: int) -> None:
        self.name = name
        self.channel = channel
        self.confirms: Confirms[Call] = Confirms()
        self.takes = False  # something was confirmed on the channel


class Publisher:
    """Publishes the messages of one bridge.

    Args:
        source: opens the connection.
        limit: messages that may be under way at once; above, Overloaded.
        on_end: is called when one of them is under way no more.
        observe: is called with each that has ended, and what it failed with; None where it did not.
    """

    def __init__(
        self,
        source: Source,
        limit: int,
        on_end: Callable[[], None],
        observe: Callable[[Call, BaseException | None], None] = lambda _call, _error: None,
    ) -> None:
        self._connection: SharedConnection[_Exchange] = SharedConnection(
            source, "messages", self._received, self._lost
        )
        self._limit = limit
        self._on_end = on_end
        self._observe = observe
        self._calls: dict[str, Call] = {}  # under way
        self._timer: asyncio.TimerHandle | None = None  # for the first of their deadlines, or earlier
        self._exchanges: dict[str, _Exchange] = {}
        self._waiting: list[tuple[Call, OutboundMessage]] = []  # for the connection
        self._opening: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Messages under way."""
        return len(self._calls)

    def __repr__(self) -> str:
        return f"<Publisher {len(self)} of {self._limit}, {self._connection}>"

    @property
    def unconfirmed(self) -> int:
        """Messages that left and that the broker has not confirmed; of those whose deadline has passed, not all."""
        return sum(len(exchange.confirms) for exchange in self._exchanges.values())

    def publish(self, call: Call, message: OutboundMessage) -> None:
        """Publish a message, which is its call's from then on.

        Raises Blocked, Overloaded, DeadlineExceeded, MessageTooLarge; ValueError when a name is too long, or the id is
        under way.
        """
        loop = asyncio.get_running_loop()
        connection = self._connection.current
        if connection is not None and connection.blocked is not None:
            raise Blocked(f"the broker takes no messages: {connection.blocked}")
        if len(self._calls) >= self._limit:
            raise Overloaded(f"{self._limit} messages are under way")
        if call.deadline <= loop.time():
            raise DeadlineExceeded("the deadline passed before the message was sent")
        if call.id in self._calls:
            raise ValueError(f"message_id {call.id} is under way already")
        if connection is not None and self._opening is None:
            self._send(connection, call, message)
        else:
            self._waiting.append((call, message))
            if self._opening is None:
                self._opening = loop.create_task(self._open(), name="messages")
        self._calls[call.id] = call
        self._watch(call.deadline)

    def abandon(self, call: Call) -> None:
        """Nobody waits for it any more."""
        if self._calls.pop(call.id, None) is not None:
            self._on_end()
            if call.cancelled():
                self._observe(call, asyncio.CancelledError())

    def lose(self, reason: str) -> None:
        """Give the connection up; the next message opens another one."""
        self._connection.lose(reason)

    async def stop(self, timeout: float) -> None:
        """Publish nothing more; `timeout` is seconds for the broker to close the connection."""
        waiting, self._waiting = self._waiting, []
        for call, _ in waiting:
            self._end(call, Stopped("the bridge stopped before the message was sent"))
        await self._connection.stop(timeout)
        if self._timer is not None:
            self._timer.cancel()

    def _watch(self, deadline: float) -> None:
        """Have _expire() called by then. There is one timer for all, as hardly any message ends with its time."""
        if self._timer is None or deadline < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = background.at(deadline, self._expire)

    def _expire(self) -> None:
        self._timer, now = None, asyncio.get_running_loop().time()
        for call in list(self._calls.values()):
            if call.deadline <= now:
                self._end(call, DeadlineExceeded("the broker has not confirmed the message before the deadline"))
            else:
                self._watch(call.deadline)
        for exchange in self._exchanges.values():
            exchange.confirms.forget(Call.done)

    async def _open(self) -> None:
        """Send what waits, once there is a connection."""
        failure: BridgeError | None = None
        try:
            await self._connection.connected()
        except (Disconnected, Stopped) as error:
            failure = error
        self._opening = None
        waiting, self._waiting = self._waiting, []
        for call, message in waiting:
            connection = self._connection.current
            if connection is None:
                self._end(call, failure or Disconnected("the connection was lost"))
            elif not call.done():
                try:
                    self._send(connection, call, message)
                except (BridgeError, ValueError) as error:
                    self._end(call, error)

    def _send(self, connection: Connection, call: Call, message: OutboundMessage) -> None:
        exchange = self._exchanges.get(message.exchange)
        if exchange is None:
            exchange = self._connection.open(connection, lambda channel: _Exchange(message.exchange, channel))
            self._exchanges[exchange.name] = exchange
            connection.write(methods.select_confirms(exchange.channel))
        try:
            frames = methods.publish(exchange.channel, *message, connection.frame_max)
        except methods.PropertiesTooLarge as error:
            raise MessageTooLarge(str(error)) from error
        connection.write(frames)
        call.sent_at = asyncio.get_running_loop().time()
        exchange.confirms.published(call, call.sent_at)

    def _received(self, exchange: _Exchange, event: methods.ChannelEvent) -> None:
        if isinstance(event, methods.Confirmed):
            exchange.takes = exchange.takes or event.acked
            settled = exchange.confirms.settled(event.tag, event.multiple)
            now = asyncio.get_running_loop().time()
            for call in settled:
                call.confirmed_at = now
                self._end(call, None if event.acked else _refusal(call))
            # One that is forgotten may have been any.
            full = bool(settled) and all(call.bounded for call in settled)
            if not (exchange.takes or exchange.confirms or full):
                # A channel of RabbitMQ 3 that first publishes to a quorum queue while that elects a leader refuses for
                # good, another channel does not.
                del self._exchanges[exchange.name]
                self._connection.close(exchange.channel, exchange)
        elif isinstance(event, methods.Returned):
            if (returned := self._calls.get(event.correlation_id)) is not None:
                self._end(returned, Unroutable(f"no queue takes the message: {event.reason}"))
        elif isinstance(event, methods.Closed):
            del self._exchanges[exchange.name]
            error = error_of(event.code, event.reason)
            # An exchange that has not taken any has taken none. Else, of several, the broker does not say which one it
            # has refused, and it may have those before that one.
            none_taken = event.code in _OF_THE_EXCHANGE and not exchange.takes
            several = len(exchange.confirms) > 1 or exchange.confirms.has_forgotten
            if several and not none_taken:
                error = OutcomeUnknown(f"the broker refused this message, or another one: {error}")
            self._fail(exchange, error)

    def _lost(self, exchange: _Exchange, error: BridgeError) -> None:
        self._exchanges.pop(exchange.name, None)
        self._fail(exchange, OutcomeUnknown(f"not confirmed: {error}"))

    def _fail(self, exchange: _Exchange, error: BridgeError) -> None:
        for call in exchange.confirms:
            self._end(call, copy(error))

    def _end(self, call: Call, outcome: BridgeError | ValueError | None) -> None:
        if not call.done():
            self.abandon(call)
            call.complete(outcome)
            self._observe(call, outcome)


def _refusal(call: Call) -> BridgeError:
    return QueueFull("the queue is full") if call.bounded else Refused("the broker refused the message")
