"""AMQP 0-9-1 frames of an open connection, in both directions: bytes and events, no I/O.

Only what a connection needs after the handshake. The source of all formats and numbers is the
specification, https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, 2.3.5 and 4.2, and
RabbitMQ's extensions to it (basic.nack, confirm.select, connection.blocked).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_METHOD, _HEADER, _BODY, _HEARTBEAT = 1, 2, 3, 8
_END = 0xCE
_OVERHEAD = 8  # bytes around a frame's payload
_FRAME = struct.Struct(">BHI")  # type, channel, payload size
_LONG_METHOD = struct.Struct(">HH")  # class, method

HEARTBEAT = _FRAME.pack(_HEARTBEAT, 0, 0) + bytes([_END])


class ProtocolError(Exception):
    """The peer sent what is not AMQP 0-9-1."""


@dataclass(frozen=True)
class Delivery:
    """basic.deliver with its content. `body` is None when it was larger than allowed.

    `user_id` is the broker's user that sent it, verified by the broker; "" when it does not say.
    """

    tag: int
    correlation_id: str
    content_type: str
    user_id: str
    body: bytes | None


@dataclass(frozen=True)
class Returned:
    """basic.return: a mandatory message found no queue."""

    correlation_id: str
    reason: str


@dataclass(frozen=True)
class Settled:
    """basic.ack or basic.nack of published messages."""

    tag: int
    multiple: bool
    acked: bool


@dataclass(frozen=True)
class Blocked:
    """connection.blocked: the broker takes no messages for now."""

    reason: str


@dataclass(frozen=True)
class Unblocked:
    """connection.unblocked."""


@dataclass(frozen=True)
class Cancelled:
    """basic.cancel: the consumer's queue is gone."""


@dataclass(frozen=True)
class Closed:
    """connection.close or channel.close by the broker.

    `channel` is True for the latter: something that was sent was wrong, such as its exchange.
    """

    code: int
    reason: str
    channel: bool


@dataclass(frozen=True)
class CloseOk:
    """connection.close-ok: the broker has read all that was written before."""


Event = Delivery | Returned | Settled | Blocked | Unblocked | Cancelled | Closed | CloseOk


class Decoder:
    """Cuts what arrives into frames and frames into events.

    Args:
        frame_max: the largest frame that was agreed on, in bytes; 0 for no limit.
        max_body: bytes above which a delivery's body is thrown away while it arrives.
    """

    def __init__(self, frame_max: int, max_body: int) -> None:
        self._frame_max = frame_max
        self._max_body = max_body
        self._buffer = bytearray()
        self._content: _Content | None = None

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take bytes from the connection; yields the events that they complete.

        Raises ProtocolError; the connection is of no use afterwards.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= _FRAME.size:
                kind, _channel, size = _FRAME.unpack_from(buffer, start)
                end = start + _FRAME.size + size
                if kind not in (_METHOD, _HEADER, _BODY, _HEARTBEAT):
                    raise ProtocolError(f"frame of type {kind}")
                if self._frame_max and size + _OVERHEAD > self._frame_max:
                    raise ProtocolError(f"frame of {size} bytes, {self._frame_max} are allowed")
                if len(buffer) <= end:
                    break
                if buffer[end] != _END:
                    raise ProtocolError("frame without its end")
                payload = bytes(buffer[start + _FRAME.size : end])
                start = end + 1
                event = self._frame(kind, payload)
                if event is not None:
                    yield event
        finally:
            del buffer[:start]

    def _frame(self, kind: int, payload: bytes) -> Event | None:
        try:
            if kind == _BODY:
                return self._body(payload)
            if kind == _METHOD:
                return self._method(payload)
            if kind == _HEADER:
                return self._header(payload)
        except (struct.error, IndexError) as error:
            raise ProtocolError(f"frame cut short: {error}") from error
        return None

    def _method(self, payload: bytes) -> Event | None:
        method = _LONG_METHOD.unpack_from(payload)
        if method == (60, 60):  # basic.deliver: consumer tag, delivery tag, …
            _consumer, at = _short_string(payload, 4)
            (tag,) = struct.unpack_from(">Q", payload, at)
            self._content = _Content(tag=tag)
        elif method == (60, 50):  # basic.return: code, text, …
            reason, _at = _short_string(payload, 6)
            self._content = _Content(reason=reason)
        elif method in ((60, 80), (60, 120)):  # basic.ack, basic.nack: tag, bits
            tag, bits = struct.unpack_from(">QB", payload, 4)
            return Settled(tag, bool(bits & 1), method == (60, 80))
        elif method == (60, 30):
            return Cancelled()
        elif method in ((10, 50), (20, 40)):  # connection.close, channel.close: code, text
            (code,) = struct.unpack_from(">H", payload, 4)
            return Closed(code, _short_string(payload, 6)[0], method == (20, 40))
        elif method == (10, 51):
            return CloseOk()
        elif method == (10, 60):
            return Blocked(_short_string(payload, 4)[0])
        elif method == (10, 61):
            return Unblocked()
        # Everything else answers something that was sent without waiting, such as consume-ok.
        return None

    def _header(self, payload: bytes) -> Event | None:
        content = self._content
        if content is None:
            raise ProtocolError("content header without a method")
        (content.size,) = struct.unpack_from(">Q", payload, 4)
        content.content_type, content.correlation_id, content.user_id = _properties(payload)
        content.too_large = content.size > self._max_body
        return self._complete(content)

    def _body(self, payload: bytes) -> Event | None:
        content = self._content
        if content is None:
            raise ProtocolError("body without a method")
        content.received += len(payload)
        if not content.too_large:
            content.parts.append(payload)
        return self._complete(content)

    def _complete(self, content: "_Content") -> Event | None:
        if content.received < content.size:
            return None
        self._content = None
        if content.reason is not None:
            return Returned(content.correlation_id, content.reason)
        body = None if content.too_large else b"".join(content.parts)
        return Delivery(content.tag, content.correlation_id, content.content_type, content.user_id, body)


class _Content:
    """A message that is arriving, for a delivery or, with a reason, for a return."""

    def __init__(self, tag: int = 0, reason: str | None = None) -> None:
        self.tag = tag
        self.reason = reason
        self.content_type = ""
        self.correlation_id = ""
        self.user_id = ""
        self.size = 0
        self.received = 0
        self.too_large = False
        self.parts: list[bytes] = []


def publish(
    channel: int, exchange: str, routing_key: str, properties: bytes, body: bytes, frame_max: int
) -> bytes:
    """basic.publish, mandatory, with its content.

    Args:
        channel: the channel's number.
        exchange: at most 255 bytes.
        routing_key: at most 255 bytes.
        properties: property flags and values.
        body: any size; cut into frames.
        frame_max: the largest frame that was agreed on, in bytes; 0 for no limit.
    """
    mandatory = b"\x01"
    method = b"\x00\x3c\x00\x28\x00\x00" + _encode_short(exchange) + _encode_short(routing_key) + mandatory
    parts = [
        _frame(_METHOD, channel, method),
        _frame(_HEADER, channel, struct.pack(">HHQ", 60, 0, len(body)) + properties),
    ]
    step = (frame_max or 131072) - _OVERHEAD
    parts.extend(_frame(_BODY, channel, body[at : at + step]) for at in range(0, len(body), step))
    return b"".join(parts)


def consume(channel: int, queue: str) -> bytes:
    """basic.consume with acknowledgements; the broker names the consumer."""
    bits = b"\x00"
    return _frame(
        _METHOD, channel, b"\x00\x3c\x00\x14\x00\x00" + _encode_short(queue) + _encode_short("") + bits + _NO_TABLE
    )


def ack(channel: int, tag: int) -> bytes:
    """basic.ack of all deliveries up to `tag`."""
    return _frame(_METHOD, channel, struct.pack(">HHQB", 60, 80, tag, 1))


def delete_queue(channel: int, queue: str) -> bytes:
    """queue.delete, whatever is in it."""
    return _frame(_METHOD, channel, b"\x00\x32\x00\x28\x00\x00" + _encode_short(queue) + b"\x00")


def close() -> bytes:
    """connection.close: the last thing that is sent."""
    return _frame(_METHOD, 0, struct.pack(">HHH", 10, 50, 200) + _encode_short("bye") + b"\x00\x00\x00\x00")


_NO_TABLE = b"\x00\x00\x00\x00"


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return _FRAME.pack(kind, channel, len(payload)) + payload + b"\xce"


def _encode_short(text: str) -> bytes:
    data = text.encode()
    if len(data) > 255:
        raise ValueError(f"a short string has at most 255 bytes, not {len(data)}: {text[:40]}…")
    return bytes([len(data)]) + data


def _short_string(payload: bytes, at: int) -> tuple[str, int]:
    """The short string at that offset, and the offset behind it."""
    end = at + 1 + payload[at]
    if end > len(payload):
        raise IndexError("short string")
    return payload[at + 1 : end].decode("utf-8", "replace"), end


def _properties(payload: bytes) -> tuple[str, str, str]:
    """Content type, correlation id and user id of a content header, "" for those it lacks."""
    content_type = correlation_id = user_id = ""
    (flags,) = struct.unpack_from(">H", payload, 12)
    at = 14
    if flags & 1 << 15:
        content_type, at = _short_string(payload, at)
    if flags & 1 << 14:  # content encoding
        _, at = _short_string(payload, at)
    if flags & 1 << 13:  # headers
        at += 4 + int(struct.unpack_from(">I", payload, at)[0])
    at += bool(flags & 1 << 12) + bool(flags & 1 << 11)  # delivery mode, priority
    if flags & 1 << 10:
        correlation_id, at = _short_string(payload, at)
    if flags & 1 << 4:
        for bit in (9, 8, 7):  # reply to, expiration, message id
            if flags & 1 << bit:
                _, at = _short_string(payload, at)
        at += 8 * bool(flags & 1 << 6)  # timestamp
        if flags & 1 << 5:  # type
            _, at = _short_string(payload, at)
        user_id, at = _short_string(payload, at)
    return content_type, correlation_id, user_id
