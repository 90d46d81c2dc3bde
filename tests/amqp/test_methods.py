"""Frames in, events out. What goes in is encoded by py-amqp, not by the code under test."""

import struct
from typing import Any

import pytest
from amqp import Message
from amqp.serialization import dumps
from hypothesis import given
from hypothesis import strategies as st

from nowait.amqp import methods
from nowait.amqp.frames import HEARTBEAT, ProtocolError
from nowait.amqp.methods import Decoder
from nowait.budget import Budget

FRAME_MAX = 4096


def frame(kind: int, payload: bytes, channel: int = 1) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def method(class_id: int, method_id: int, formats: str = "", *values: Any) -> bytes:
    return frame(1, struct.pack(">HH", class_id, method_id) + bytes(dumps(formats, values)))


def content(body: bytes, **properties: Any) -> bytes:
    header = struct.pack(">HHQ", 60, 0, len(body)) + Message(b"", **properties)._serialize_properties()
    step = FRAME_MAX - 8
    return frame(2, header) + b"".join(frame(3, body[at : at + step]) for at in range(0, len(body), step))


def delivered(event: methods.Event) -> Any:
    """An event, a delivery without its source, size and other properties, and with its body in one."""
    if not isinstance(event, methods.Delivery):
        return event
    return (*event[:4], None if event.parts is None else event.body)


def delivery(tag: int, body: bytes, **properties: Any) -> bytes:
    return method(60, 60, "sLbss", "consumer", tag, False, "", "queue") + content(body, **properties)


STREAM = b"".join(
    [
        delivery(1, b'{"status": "SUCCESS"}', correlation_id="a", content_type="application/json"),
        method(60, 80, "Lb", 7, True),
        HEARTBEAT,
        method(60, 120, "Lbb", 9, False, False),
        delivery(
            2, b"x" * 9000, correlation_id="b", application_headers={"h": [1, {"k": "v"}]}, priority=3,
            user_id="worker", app_id="app",
        ),
        method(60, 50, "Bsss", 312, "NO_ROUTE", "", "nowhere") + content(b"{}", correlation_id="c"),
        delivery(
            3, b"", delivery_mode=2, content_encoding="utf-8", correlation_id="d", reply_to="r", expiration="5",
            message_id="m", timestamp=1_700_000_000, type="t", user_id="server",
        ),
        method(10, 60, "s", "low on memory"),
        method(10, 61),
        method(60, 21, "s", "consumer"),
        method(60, 30, "sb", "consumer", True),
    ]
)
EVENTS = [
    (1, "a", "application/json", "", b'{"status": "SUCCESS"}'),
    methods.Confirmed(7, True, True),
    methods.Confirmed(9, False, False),
    (2, "b", "", "worker", b"x" * 9000),
    methods.Returned("c", "NO_ROUTE"),
    (3, "d", "", "server", b""),
    methods.Blocked("low on memory"),
    methods.Unblocked(),
    methods.Consuming(1, "consumer"),
    methods.Cancelled(1, "consumer"),
]


def decoder(max_body: int = 100_000) -> Decoder:
    return Decoder(FRAME_MAX, Budget(max_body))


def test_a_stream_is_cut_into_events() -> None:
    # py-amqp writes the class and method in front of dumps' bit fields; "B" is its short.
    assert [delivered(event) for event in decoder().feed(STREAM)] == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_where_the_stream_is_cut_does_not_matter(cuts: list[int]) -> None:
    cutter = decoder()
    edges = [0, *sorted(cuts), len(STREAM)]
    events = [delivered(event) for start, end in zip(edges, edges[1:]) for event in cutter.feed(STREAM[start:end])]
    assert events == EVENTS


def test_byte_by_byte_it_is_the_same() -> None:
    cutter = decoder()
    assert [delivered(event) for byte in STREAM for event in cutter.feed(bytes([byte]))] == EVENTS


def test_a_body_that_is_too_large_is_dropped_and_the_next_one_arrives() -> None:
    stream = delivery(1, b"x" * 9000, correlation_id="a") + delivery(2, b"y", correlation_id="b")
    large, small = decoder(max_body=8999).feed(stream)
    assert delivered(large) == (1, "a", "", "", None)
    assert delivered(small) == (2, "b", "", "", b"y")
    assert isinstance(large, methods.Delivery) and large.size == 9000


def test_a_body_for_which_there_is_no_room_is_dropped_until_another_one_is_let_go() -> None:
    budget = Budget(100_000, 100_000)
    cutter = Decoder(FRAME_MAX, budget)

    def arrive(tag: int, size: int) -> methods.Delivery:
        (event,) = cutter.feed(delivery(tag, b"x" * size))
        assert isinstance(event, methods.Delivery)
        return event

    first = arrive(1, 60_000)
    assert (arrive(2, 60_000).parts, budget.full) == (None, True)
    assert arrive(3, 1000).parts is not None
    assert first.share is not None
    first.share.release()
    assert (budget.used, budget.full) == (0, False)
    assert arrive(4, 60_000).parts is not None
    assert budget.used == 0, "nobody knows of the last one any more"


def test_a_delivery_has_its_source_and_all_its_properties() -> None:
    envelope = method(60, 60, "sLbss", "a consumer", 7, True, "an exchange", "a key")
    (event,) = decoder().feed(envelope + content(b"{}", reply_to="r", application_headers={"a": 1}))
    assert isinstance(event, methods.Delivery)
    assert event.source() == methods.Source("a consumer", True, "an exchange", "a key")
    assert event.properties == {"reply_to": "r", "headers": dumps("F", ({"a": 1},))}


@pytest.mark.parametrize(
    ("sent", "closed"),
    [
        (method(10, 50, "BsBB", 320, "CONNECTION_FORCED", 0, 0), methods.Closed(320, "CONNECTION_FORCED", 0)),
        (method(20, 40, "BsBB", 404, "NOT_FOUND", 60, 40), methods.Closed(404, "NOT_FOUND", 1)),
    ],
)
def test_a_close_tells_its_reason(sent: bytes, closed: methods.Closed) -> None:
    assert list(decoder().feed(sent)) == [closed]


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x01\x00\x01\x00\x00\x00\x04\x00\x3c\x00\x50" + b"\x00",
        struct.pack(">BHI", 1, 1, 2**31),
        frame(1, b"\x00"),
        frame(1, struct.pack(">HH", 60, 80)),
        frame(2, b"\x00" * 20),
        frame(3, b"body of nothing"),
    ],
)
def test_what_is_not_amqp_is_an_error(garbage: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(decoder().feed(garbage))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        list(decoder().feed(data))
    except ProtocolError:
        pass


@given(st.binary(max_size=3 * FRAME_MAX))
def test_a_published_message_is_cut_into_frames_of_the_agreed_size(body: bytes) -> None:
    properties = Message(b"", correlation_id="id")._serialize_properties()
    sent = methods.publish(1, "", "queue", properties, body, FRAME_MAX)
    bodies = []
    while sent:
        kind, _channel, size = struct.unpack_from(">BHI", sent)
        assert size + 8 <= FRAME_MAX
        assert sent[7 + size] == 0xCE
        if kind == 3:
            bodies.append(sent[7 : 7 + size])
        sent = sent[8 + size :]
    assert b"".join(bodies) == body


def test_a_name_that_amqp_cannot_carry_is_refused() -> None:
    with pytest.raises(ValueError, match="255 bytes"):
        methods.publish(1, "", "q" * 256, b"\x00\x00", b"", FRAME_MAX)
