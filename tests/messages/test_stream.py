"""Where a reader of a stream begins, and what it reads: against py-amqp's encoding."""

from datetime import timedelta
from typing import Any

import pytest
from amqp.serialization import dumps, loads
from hypothesis import given
from hypothesis import strategies as st

from nowait.amqp.methods import Delivery
from nowait.messages.stream import StreamMessage, offset_argument, read_stream_message

ENVELOPE = b"\x00\x3c\x00\x3c\x00" + bytes(8) + b"\x00\x06topics\x04news"


def delivery(headers: dict[str, Any], parts: tuple[bytes, ...] | None = (b"{", b"}")) -> Delivery:
    properties = {"headers": bytes(dumps("F", (headers,))), "message_id": "m", "type": "t"}
    return Delivery(1, "", "", "server", parts, 2, properties, ENVELOPE)


@given(st.integers(0, 10**18 - 1) | st.sampled_from(["first", "last", "next"]))
def test_an_offset_is_an_argument_of_its_consumer(offset: Any) -> None:
    (table,), _ = loads("F", offset_argument(offset), 0)
    assert table == {"x-stream-offset": offset}


def test_a_time_is_an_interval_in_seconds() -> None:
    (table,), _ = loads("F", offset_argument(timedelta(minutes=5, milliseconds=3)), 0)
    assert table == {"x-stream-offset": "300s"}


@pytest.mark.parametrize("offset", [-1, 10**18, True, None, 1.5, "", "newest", timedelta(0), timedelta(seconds=-5)])
def test_what_is_no_offset_is_refused(offset: Any) -> None:
    with pytest.raises(ValueError, match="offset"):
        offset_argument(offset)


def test_a_message_has_its_place_and_where_it_was_published() -> None:
    message = read_stream_message(delivery({"x-stream-offset": 2**40, "other": 1}))
    assert message == StreamMessage(2**40, "topics", "news", "t", "m", "server", b"{}")


@pytest.mark.parametrize(
    "broken", [delivery({}), delivery({"x-stream-offset": "5"}), delivery({"x-stream-offset": 5}, None)]
)
def test_a_message_of_no_stream_is_refused(broken: Delivery) -> None:
    with pytest.raises(ValueError, match="offset"):
        read_stream_message(broken)
