"""The methods of an open AMQP 0-9-1 connection: what arrives as events, what is sent as bytes.

Formats and numbers are the specification's, https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, and
RabbitMQ's extensions to it (basic.nack, confirm.select, connection.blocked).
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from nowait.amqp.frames import BODY, HEADER, METHOD, OVERHEAD, FrameDecoder, ProtocolError, frame
from nowait.amqp.properties import decode, encode_short_string, short_string
from nowait.budget import Budget, Share

_LONG_METHOD = struct.Struct(">HH")  # class, method
_LONG_LONG = struct.Struct(">Q")
_CONTENT_HEADER = struct.Struct(">HHQ")  # class, weight, size of the body
_SETTLEMENT = struct.Struct(">HHQB")  # class, method, delivery tag, bits
# Reply codes by which a broker closes a connection because of what it was sent (1.1 of the specification).
_OF_THE_CLIENT = {501, 502, 503, 504, 505, 506, 530, 540}
_DEFAULT_FRAME_MAX = 131072  # bytes of a frame, where there is no limit
_HEADER_OVERHEAD = 12  # bytes in front of the properties
_SMALL_BODY = 16 * 1024  # bytes of a body that is not counted
NO_TABLE = b"\x00\x00\x00\x00"


class Delivery(NamedTuple):
    """basic.deliver with its content. `parts` are those of its body, each of a frame at most; None when it was larger
    than allowed, or found no room.

    `user_id` is the broker's user that sent it, verified by the broker; "" when it does not say. `properties` are all
    of them, as nowait.amqp.properties.decode gives them. `envelope` is the method, see source(). `share` is held for a
    body that is not small. `tag` is of the channel.
    """

    tag: int
    correlation_id: str
    content_type: str
    user_id: str
    parts: tuple[bytes, ...] | None
    size: int = 0  # of the body, in bytes
    properties: Mapping[str, Any] = MappingProxyType({})
    envelope: bytes = b""
    share: Share | None = None
    channel: int = 1

    @property
    def body(self) -> bytes:
        """All parts together; b"" for None. Of a large body it is a copy, which takes its time."""
        return b"".join(self.parts or ())

    def source(self) -> "Source":
        """Where it comes from. Raises struct.error or IndexError where the envelope is cut short."""
        consumer_tag, at = short_string(self.envelope, 4)
        redelivered = self.envelope[at + 8] != 0
        exchange, at = short_string(self.envelope, at + 9)
        routing_key, _ = short_string(self.envelope, at)
        return Source(consumer_tag, redelivered, exchange, routing_key)


class Source(NamedTuple):
    """Where a delivery comes from."""

    consumer_tag: str
    redelivered: bool
    exchange: str
    routing_key: str


class Returned(NamedTuple):
    """basic.return: a mandatory message found no queue."""

    correlation_id: str
    reason: str
    channel: int = 1


class Confirmed(NamedTuple):
    """basic.ack or basic.nack of published messages: of one tag, or of `multiple` up to it."""

    tag: int
    multiple: bool
    acked: bool
    channel: int = 1


@dataclass(frozen=True)
class Blocked:
    """connection.blocked: the broker takes no messages for now."""

    reason: str


@dataclass(frozen=True)
class Unblocked:
    """connection.unblocked."""


@dataclass(frozen=True)
class Consuming:
    """basic.consume-ok: what was sent on the channel before, the consumer included, has been done."""

    channel: int
    consumer_tag: str


@dataclass(frozen=True)
class Cancelled:
    """basic.cancel: the consumer's queue is gone."""

    channel: int
    consumer_tag: str


@dataclass(frozen=True)
class Closed:
    """connection.close by the broker, with the channel 0, or channel.close."""

    code: int
    reason: str
    channel: int

    @property
    def refused(self) -> bool:
        """True when something that was sent is the cause, such as a message to an exchange that is not there."""
        return self.channel != 0 or self.code in _OF_THE_CLIENT


@dataclass(frozen=True)
class ChannelCloseOk:
    """channel.close-ok: nothing more comes on the channel, and it may be opened again."""

    channel: int


@dataclass(frozen=True)
class CloseOk:
    """connection.close-ok: the broker has read all that was written before."""


ChannelEvent = Delivery | Returned | Confirmed | Consuming | Cancelled | Closed | ChannelCloseOk
Event = ChannelEvent | Blocked | Unblocked | CloseOk


class PropertiesTooLarge(ValueError):
    """Properties that do not fit into their one frame: the broker would close the connection."""


class Decoder:
    """Makes events of what arrives.

    Args:
        frame_max: the largest frame that was agreed on, in bytes; 0 for no limit.
        budget: of the bodies of deliveries; one for which it has no room is dropped while it arrives.
    """

    def __init__(self, frame_max: int, budget: Budget) -> None:
        self._frames = FrameDecoder(frame_max)
        self._budget = budget
        self._contents: dict[int, _Content] = {}  # by their channels

    def clear(self) -> None:
        """Let go of what has not arrived whole: the rest will not come."""
        self._contents.clear()

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take bytes from the connection; yields the events that they complete.

        Raises ProtocolError; the connection is of no use afterwards.
        """
        for kind, channel, payload in self._frames.feed(data):
            try:
                event = self._method(channel, payload) if kind == METHOD else self._part(kind, channel, payload)
            except (struct.error, IndexError) as error:
                raise ProtocolError(f"frame cut short: {error}") from error
            if event is not None:
                yield event

    def _method(self, channel: int, payload: bytes) -> Event | None:
        method = _LONG_METHOD.unpack_from(payload)
        if method == (60, 60):  # basic.deliver: consumer tag, delivery tag, …
            (tag,) = _LONG_LONG.unpack_from(payload, 5 + payload[4])
            self._contents[channel] = _Content(tag, envelope=payload)
        elif method == (60, 50):  # basic.return: code, text, …
            reason, _at = short_string(payload, 6)
            self._contents[channel] = _Content(0, reason=reason)
        elif method in ((60, 80), (60, 120)):  # basic.ack, basic.nack: tag, bits
            tag, bits = struct.unpack_from(">QB", payload, 4)
            return Confirmed(tag, bool(bits & 1), method == (60, 80), channel)
        elif method == (60, 21):
            return Consuming(channel, short_string(payload, 4)[0])
        elif method == (60, 30):
            return Cancelled(channel, short_string(payload, 4)[0])
        elif method in ((10, 50), (20, 40)):  # connection.close, channel.close: code, text
            (code,) = struct.unpack_from(">H", payload, 4)
            self._contents.pop(channel, None)
            return Closed(code, short_string(payload, 6)[0], channel if method == (20, 40) else 0)
        elif method == (20, 41):
            self._contents.pop(channel, None)
            return ChannelCloseOk(channel)
        elif method == (10, 51):
            return CloseOk()
        elif method == (10, 60):
            return Blocked(short_string(payload, 4)[0])
        elif method == (10, 61):
            return Unblocked()
        # Everything else answers something that was sent without waiting, such as cancel-ok.
        return None

    def _part(self, kind: int, channel: int, payload: bytes) -> Event | None:
        """A content header, or a part of a body."""
        content = self._contents.get(channel)
        if content is None:
            raise ProtocolError("content without a method")
        if kind == HEADER:
            (content.size,) = _LONG_LONG.unpack_from(payload, 4)
            content.properties = decode(payload, _HEADER_OVERHEAD)
            if content.size > min(_SMALL_BODY, self._budget.largest):
                content.share = self._budget.take(content.size)
                content.kept = content.share is not None
        else:
            content.received += len(payload)
            if content.kept:
                content.body.append(payload)
        if content.received < content.size:
            return None
        del self._contents[channel]
        get = content.properties.get
        if content.reason is not None:
            return Returned(get("correlation_id", ""), content.reason, channel)
        return Delivery(
            content.tag,
            get("correlation_id", ""),
            get("content_type", ""),
            get("user_id", ""),
            tuple(content.body) if content.kept else None,
            content.size,
            content.properties,
            content.envelope,
            content.share,
            channel,
        )


class _Content:
    """A message that is arriving, for a delivery or, with a reason, for a return."""

    __slots__ = ("tag", "envelope", "reason", "size", "kept", "share", "received", "properties", "body")

    def __init__(self, tag: int, envelope: bytes = b"", reason: str | None = None) -> None:
        self.tag = tag
        self.envelope = envelope
        self.reason = reason
        self.size = 0
        self.kept = True
        self.share: Share | None = None
        self.received = 0
        self.properties: dict[str, Any] = {}
        self.body: list[bytes] = []


def publish(
    channel: int, exchange: str, routing_key: str, properties: bytes, body: bytes, frame_max: int,
    mandatory: bool = True,
) -> bytes:
    """basic.publish with its content.

    Args:
        channel: the channel's number.
        exchange, routing_key: at most 255 bytes each.
        properties: property flags and values.
        body: any size; cut into frames.
        frame_max: the largest frame that was agreed on, in bytes; 0 for no limit.
        mandatory: it is returned when there is no queue for it.

    Raises ValueError when a name is too long, PropertiesTooLarge when the properties are.
    """  # fmt: skip
    step = (frame_max or _DEFAULT_FRAME_MAX) - OVERHEAD
    if _HEADER_OVERHEAD + len(properties) > step:
        raise PropertiesTooLarge(f"{len(properties)} bytes of properties do not fit into a frame of {step} bytes")
    frames = [
        _publish(channel, exchange, routing_key, mandatory),
        frame(HEADER, channel, _CONTENT_HEADER.pack(60, 0, len(body)) + properties),
        *[frame(BODY, channel, body[at : at + step]) for at in range(0, len(body), step)],
    ]
    return b"".join(frames)


@lru_cache(maxsize=1000)  # one queue gets many messages
def _publish(channel: int, exchange: str, routing_key: str, mandatory: bool) -> bytes:
    """The method frame of basic.publish."""
    names, bits = encode_short_string(exchange) + encode_short_string(routing_key), b"\x01" if mandatory else b"\x00"
    return frame(METHOD, channel, b"\x00\x3c\x00\x28\x00\x00" + names + bits)


def consume(channel: int, queue: str, consumer_tag: str = "", arguments: bytes = NO_TABLE) -> bytes:
    """basic.consume with acknowledgements.

    Args:
        channel: the channel's number.
        queue: its name.
        consumer_tag: the consumer's name; "" lets the broker choose one.
        arguments: an encoded table.
    """
    names, bits = encode_short_string(queue) + encode_short_string(consumer_tag), b"\x00"
    return frame(METHOD, channel, b"\x00\x3c\x00\x14\x00\x00" + names + bits + arguments)


def cancel(channel: int, consumer_tag: str) -> bytes:
    """basic.cancel: nothing more is delivered to that consumer, but what is under way."""
    return frame(METHOD, channel, b"\x00\x3c\x00\x1e" + encode_short_string(consumer_tag) + b"\x00")


def qos(channel: int, prefetch_count: int, all_consumers: bool) -> bytes:
    """basic.qos.

    Args:
        channel: the channel's number.
        prefetch_count: deliveries that may be unacknowledged; 0 for no limit.
        all_consumers: of all consumers of the channel together (RabbitMQ's meaning of `global`, which quorum queues do
            not have); otherwise of each one that begins from now on.
    """
    return frame(METHOD, channel, struct.pack(">HHIHB", 60, 10, 0, prefetch_count, all_consumers))


def ack(channel: int, tag: int, multiple: bool) -> bytes:
    """basic.ack of one delivery, or of all up to `tag`."""
    return frame(METHOD, channel, _SETTLEMENT.pack(60, 80, tag, multiple))


def reject(channel: int, tag: int, requeue: bool) -> bytes:
    """basic.reject of one delivery, which goes back to its queue or is dropped (to its dead-letter exchange)."""
    return frame(METHOD, channel, _SETTLEMENT.pack(60, 90, tag, requeue))


def open_channel(channel: int) -> bytes:
    """channel.open."""
    return frame(METHOD, channel, b"\x00\x14\x00\x0a\x00")


def select_confirms(channel: int) -> bytes:
    """confirm.select, without an answer: the broker confirms what is published on the channel from now on."""
    return frame(METHOD, channel, b"\x00\x55\x00\x0a\x01")


def close_channel(channel: int) -> bytes:
    """channel.close: what was delivered on it and is not acknowledged goes back to its queue."""
    return frame(METHOD, channel, struct.pack(">HHH", 20, 40, 200) + encode_short_string("") + b"\x00\x00\x00\x00")


def confirm_closed(channel: int) -> bytes:
    """channel.close-ok: the answer to a channel.close, after which the channel may be opened again."""
    return frame(METHOD, channel, b"\x00\x14\x00\x29")


def declare_queue(channel: int, queue: str, arguments: bytes = NO_TABLE) -> bytes:
    """queue.declare of an exclusive queue, which ends with the connection.

    Args:
        channel: the channel's number.
        queue: its name.
        arguments: an encoded table.
    """
    return frame(METHOD, channel, b"\x00\x32\x00\x0a\x00\x00" + encode_short_string(queue) + b"\x04" + arguments)


def bind_queue(channel: int, queue: str, exchange: str, routing_key: str) -> bytes:
    """queue.bind."""
    names = b"".join(map(encode_short_string, (queue, exchange, routing_key)))
    return frame(METHOD, channel, b"\x00\x32\x00\x14\x00\x00" + names + b"\x00" + NO_TABLE)


def delete_queue(channel: int, queue: str) -> bytes:
    """queue.delete, whatever is in it."""
    return frame(METHOD, channel, b"\x00\x32\x00\x28\x00\x00" + encode_short_string(queue) + b"\x00")


def close() -> bytes:
    """connection.close: the last thing that is sent."""
    return frame(METHOD, 0, struct.pack(">HHH", 10, 50, 200) + encode_short_string("bye") + b"\x00\x00\x00\x00")
