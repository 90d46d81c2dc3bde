"""Queues and streams in memory, as the fake bridge has them."""

import asyncio
import struct
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from nowait.amqp.methods import Delivery
from nowait.amqp.properties import encode_short_string
from nowait.bridge.consumer import Consumer
from nowait.errors import BridgeError, QueueFull, Refused, Stopped, Unroutable
from nowait.messages.stream import Offset, StreamMessage, offset_argument


class MemoryStream:
    """A stream, from its first message on."""

    def __init__(self) -> None:
        self._messages: list[StreamMessage] = []
        self._first = 0  # the offset of the first one
        self._readers: set[asyncio.Event] = set()
        self._error: BridgeError | None = None

    def put(self, message: StreamMessage) -> None:
        """Append a message."""
        self._messages.append(replace(message, offset=self._first + len(self._messages)))
        self._wake()

    def truncate(self, offset: int) -> None:
        """What is before an offset is gone."""
        del self._messages[: offset - self._first]
        self._first = offset

    def fail(self, error: BridgeError) -> None:
        """End those that read now."""
        self._error = error
        self._wake()
        self._readers = set()

    async def read(self, offset: Offset) -> AsyncGenerator[StreamMessage, None]:
        """As Bridge.subscribe(); an offset in time is the first message."""
        offset_argument(offset)
        end = self._first + len(self._messages)
        if isinstance(offset, timedelta) or offset == "first":
            at = 0
        else:
            at = offset if isinstance(offset, int) else end if offset == "next" else end - 1
        news = asyncio.Event()
        self._readers.add(news)
        try:
            while True:
                while (at := max(at, self._first)) < self._first + len(self._messages):
                    yield self._messages[at - self._first]
                    at += 1
                if news not in self._readers and self._error is not None:
                    raise self._error
                news.clear()
                if news in self._readers:
                    await news.wait()
        finally:
            self._readers.discard(news)

    def _wake(self) -> None:
        for news in self._readers:
            news.set()


class MemoryQueue:
    """A queue: each message goes to one consumer.

    Args:
        bound: messages that may wait; None for any number.
    """

    def __init__(self, bound: int | None) -> None:
        self._bound = bound
        self._ready: deque[tuple[int, Delivery]] = deque()  # with their places
        self._next = 0
        self._consumers: deque[_MemoryConsumer] = deque()

    def __len__(self) -> int:
        """Messages that wait: those with consumers do not count."""
        return len(self._ready)

    def put(self, message: Delivery, bounded: bool) -> None:
        """Append a message. Raises QueueFull, or Refused where it is not to be `bounded`."""
        if self._bound is not None and len(self._ready) >= self._bound:
            raise QueueFull("the queue is full") if bounded else Refused("the broker refused the message")
        self._ready.append((self._next, message))
        self._next += 1
        self.deliver()

    def deliver(self) -> None:
        """Give what waits to consumers, in turn."""
        for _ in range(len(self._consumers)):
            if not self._ready:
                return
            consumer = self._consumers[0]
            self._consumers.rotate(-1)
            if consumer.take(*self._ready[0]):
                self._ready.popleft()
                return self.deliver()

    def put_back(self, messages: list[tuple[int, Delivery]]) -> None:
        """They are to be delivered again, from their places on."""
        again = [
            (place, message._replace(envelope=_envelope("", message.source().routing_key, redelivered=True)))
            for place, message in messages
        ]
        self._ready = deque(sorted([*self._ready, *again], key=lambda each: each[0]))
        self.deliver()

    def fail(self, error: BridgeError) -> None:
        """End those that consume now."""
        for consumer in list(self._consumers):
            consumer.fail(error)

    @asynccontextmanager
    async def consume(self, prefetch: int) -> AsyncIterator[Consumer]:
        """As Bridge.consume()."""
        consumer = _MemoryConsumer(self, prefetch)
        self._consumers.append(consumer)
        self.deliver()
        try:
            yield consumer
        finally:
            self._consumers.remove(consumer)
            self.put_back(consumer.unacknowledged())
            consumer.fail(Stopped("the consumer was closed"))


class _MemoryConsumer(Consumer):
    """A consumer of a queue in memory."""

    def __init__(self, queue: MemoryQueue, prefetch: int) -> None:
        super().__init__(1, lambda frames: None)
        self._queue = queue
        self._prefetch = prefetch
        self._last = 0
        self._held: dict[int, tuple[int, Delivery]] = {}  # by their tags

    def take(self, place: int, message: Delivery) -> bool:
        """Get a message. Returns False when it has as many as it may have."""
        if len(self._held) >= self._prefetch or self._error is not None:
            return False
        self._last += 1
        self._held[self._last] = place, message
        self.received(message._replace(tag=self._last))
        return True

    def unacknowledged(self) -> list[tuple[int, Delivery]]:
        """What it has not acknowledged, which it loses."""
        held, self._held = list(self._held.values()), {}
        return held

    def acknowledge(self, tag: int, multiple: bool = False) -> None:
        for each in [each for each in self._held if each == tag or (multiple and each < tag)]:
            del self._held[each]
        self._queue.deliver()

    def hand_back(self, tag: int) -> None:
        if (message := self._held.pop(tag, None)) is not None:
            self._queue.put_back([message])


class MemoryBroker:
    """Queues and streams by name.

    Args:
        queues: the queues, each with the messages that may wait in it; None for any number.
        streams: the streams.
        routes: the exchanges, each with the queue or stream that gets all of its messages; those that are not there
            take messages by the queue's name.
    """

    def __init__(self, queues: Mapping[str, int | None], streams: list[str], routes: Mapping[str, str]) -> None:
        self.queues = {name: MemoryQueue(bound) for name, bound in queues.items()}
        self.streams = {name: MemoryStream() for name in streams}
        self._routes = routes

    def publish(self, exchange: str, routing_key: str, body: bytes, bounded: bool, **properties: Any) -> None:
        """As Bridge.publish(). Raises Unroutable, QueueFull or Refused."""
        target = self._routes.get(exchange, routing_key)
        kind, message_id = properties["type"] or "", properties["message_id"]
        if target in self.streams:
            self.streams[target].put(StreamMessage(0, exchange, routing_key, kind, message_id, "", body))
        elif target in self.queues:
            envelope, kept = _envelope(exchange, routing_key, redelivered=False), (body,)
            kind = properties["content_type"]
            delivery = Delivery(0, message_id, kind, "", kept, len(body), properties, envelope)
            self.queues[target].put(delivery, bounded)
        else:
            raise Unroutable("no queue takes the message")

    def declare(self, name: str, arguments: Mapping[str, Any]) -> None:
        """As Bridge.declare()."""
        if arguments.get("x-queue-type") == "stream":
            self.streams.setdefault(name, MemoryStream())
        else:
            self.queues.setdefault(name, MemoryQueue(arguments.get("x-max-length")))

    def fail(self, error: BridgeError) -> None:
        """End all that consume or read now."""
        for queue in self.queues.values():
            queue.fail(error)
        for stream in self.streams.values():
            stream.fail(error)


def _envelope(exchange: str, routing_key: str, redelivered: bool) -> bytes:
    """The method basic.deliver."""
    tag = struct.pack(">Q?", 0, redelivered)
    return b"\x00\x3c\x00\x3c" + b"\x00" + tag + encode_short_string(exchange) + encode_short_string(routing_key)
