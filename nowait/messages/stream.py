"""Messages of a RabbitMQ stream, and where to begin in one: https://www.rabbitmq.com/docs/streams. No I/O."""

import struct
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from nowait.amqp.methods import Delivery
from nowait.amqp.properties import encode_short_string
from nowait.messages.headers import decode_headers

_HEADER = "x-stream-offset"  # of a consumer where it begins, of a message where it is
_MAX_OFFSET = 10**18 - 1  # what has as many digits at most fits into the 64 bits of an offset

Offset = int | timedelta | Literal["first", "last", "next"]


@dataclass(frozen=True)
class StreamMessage:
    """A message of a stream.

    Attributes:
        offset: its place in the stream. Each has a greater one than those before it; some numbers are left out.
        exchange, routing_key: as it was published.
        kind: its property `type`; "" for none.
        message_id: its id; "" for none.
        user_id: the broker's user that published it, as far as that was given; "" for none.
        body: the message.
    """

    offset: int
    exchange: str
    routing_key: str
    kind: str
    message_id: str
    user_id: str
    body: bytes


def offset_argument(offset: Offset) -> bytes:
    """The arguments of a consumer that begins at an offset.

    Args:
        offset: of the first message that is wanted: one behind the end waits for it, one that is gone begins with the
            first there is. Or "first"; "last", the last chunk that was written, of one or more messages; "next", what
            is published from now on; or as long ago, about: whole chunks.

    Raises ValueError for any other one: RabbitMQ 3 would close the connection.
    """
    if isinstance(offset, timedelta):
        seconds = int(offset.total_seconds())
        if seconds < 1:
            raise ValueError("offset: expected a second or more")
        value = _long_string(f"{seconds}s")
    elif isinstance(offset, int) and not isinstance(offset, bool):
        if not 0 <= offset <= _MAX_OFFSET:
            raise ValueError(f"offset: expected 0 to {_MAX_OFFSET}, not {offset}")
        value = b"l" + struct.pack(">q", offset)
    elif offset in ("first", "last", "next"):
        value = _long_string(offset)
    else:
        raise ValueError(f"offset: expected a number, a time, first, last or next, not {offset!r}")
    table = encode_short_string(_HEADER) + value
    return struct.pack(">I", len(table)) + table


def read_stream_message(delivery: Delivery) -> StreamMessage:
    """The message of a delivery. Raises ValueError when it is of no stream, or its body was not kept."""
    headers = decode_headers(delivery.properties.get("headers", b"\x00\x00\x00\x00"))
    offset = headers.get(_HEADER)
    if not isinstance(offset, int) or delivery.parts is None:
        raise ValueError("a message without an offset, or without its body")
    source = delivery.source()
    return StreamMessage(
        offset,
        source.exchange,
        source.routing_key,
        delivery.properties.get("type", ""),
        delivery.properties.get("message_id", ""),
        delivery.user_id,
        delivery.body,
    )


def _long_string(text: str) -> bytes:
    data = text.encode()
    return b"S" + struct.pack(">I", len(data)) + data
