"""Bounded queues over HTTP and WebSocket, through a fake bridge and through a broker; a consumer's session alone."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import Mock

import pytest
from kombu import Connection
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from nowait.amqp.methods import Delivery
from nowait.bridge import Call, Consumer
from nowait.errors import Disconnected, Overloaded, QueueFull
from nowait.testing import FakeBridge
from nowait.topology import Topology
from server.keys.keyring import Keyring
from server.names import Bounds
from server.queues.queues import Queues
from server.queues.session import BadCommand, Command, Session
from tests.bridge.conftest import running, until
from tests.server.key_files import Keys
from tests.server.topics_site import (
    BOTH,
    MESSAGES,
    Serve,
    TopicsSite,
    closed,
    consuming,
    message,
    over,
    put,
    topics_site,
)

HANDSHAKE = (
    b"GET /queues/parcels/consumer?lease=1 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
ENVELOPE = b"\x00\x3c\x00\x3c\x00" + bytes(8) + b"\x01\x00\x00"  # delivered again, no names


@pytest.fixture(params=BOTH)
def serve(request: pytest.FixtureRequest) -> Serve:
    return over(request)


@pytest.mark.gen_test
async def test_a_message_goes_to_one_consumer_and_is_gone_once_acknowledged(serve: Serve) -> None:
    async with serve() as site:
        answer = await site.fetch(MESSAGES, {"to": "Ada"})
        assert answer.code == 202 and json.loads(answer.body)["queue"] == "parcels"
        async with consuming(site) as socket:
            found = await message(socket)
            assert found == {
                "tag": found["tag"],
                "message_id": json.loads(answer.body)["message_id"],
                "redelivered": False,
                "data": {"to": "Ada"},
            }
            await put(site, 2)
            await socket.write_message(json.dumps({"ack": found["tag"]}))
            assert (await message(socket))["data"] == 2


@pytest.mark.gen_test
async def test_a_full_queue_is_503_and_takes_again_once_there_is_room(serve: Serve) -> None:
    async with serve(queues=Bounds({"parcels": 3})) as site:
        assert await put(site, 1, 2, 3) == [202] * 3
        refused = await site.fetch(MESSAGES, 4)
        assert (refused.code, refused.headers["Retry-After"]) == (503, "1")
        assert json.loads(refused.body)["type"] == "urn:problem-type:nowait:queue-full"
        async with consuming(site) as socket:
            await message(socket)
            assert await put(site, 4, 5) == [202, 503]


@pytest.mark.gen_test
async def test_a_producer_may_wait_for_room(serve: Serve) -> None:
    async with serve(queues=Bounds({"parcels": 1})) as site:
        await put(site, 1)
        short = await site.fetch(MESSAGES, 2, headers={"Prefer": "wait=0.1"})
        assert (short.code, short.headers["Preference-Applied"]) == (503, "wait=0.1")
        waiting = asyncio.create_task(site.fetch(MESSAGES, 2, headers={"Prefer": "wait=20"}))
        await asyncio.sleep(0.1)
        async with consuming(site) as socket:
            await socket.write_message(json.dumps({"ack": (await message(socket))["tag"]}))
            assert (await waiting).code == 202
            assert (await message(socket))["data"] == 2


@pytest.mark.gen_test
async def test_what_a_consumer_held_goes_to_another_and_shows_it(serve: Serve) -> None:
    async with serve() as site:
        await put(site, 1, 2)
        async with consuming(site, "?prefetch=2") as socket:
            assert [(await message(socket))["data"] for _ in range(2)] == [1, 2]
        async with consuming(site) as socket:
            first = await message(socket)
            assert (first["data"], first["redelivered"]) == (1, True)
            await socket.write_message(json.dumps({"hand_back": first["tag"]}))
            again = await message(socket)
            assert (again["data"], again["redelivered"]) == (1, True)


@pytest.mark.gen_test
async def test_what_was_held_goes_back_above_the_bound_and_nothing_is_taken_until_there_is_room(vhost: str) -> None:
    async with running(vhost) as bridge, topics_site(bridge, queues=Bounds({"parcels": 2})) as site:
        with Connection(vhost) as connection:
            channel = connection.channel()

            def waiting() -> int:
                return int(channel.queue_declare("parcels", passive=True).message_count)

            assert await put(site, 1, 2) == [202] * 2
            async with consuming(site, "?prefetch=2") as socket:
                assert [(await message(socket))["data"] for _ in range(2)] == [1, 2]
                assert await put(site, 3, 4, 5) == [202, 202, 503]
                assert waiting() == 2
            await until(lambda: waiting() == 4)
            assert await put(site, 5) == [503]
            async with consuming(site) as socket:
                for number in (1, 2):
                    assert await put(site, 5) == [503]
                    found = await message(socket)
                    assert (found["data"], found["redelivered"]) == (number, True)
                    await socket.write_message(json.dumps({"ack": found["tag"]}))
                # It has the third one: one waits.
                assert (await message(socket))["data"] == 3
                assert await put(site, 5, 6) == [202, 503]


@pytest.mark.gen_test
async def test_a_message_is_held_no_longer_than_its_lease(serve: Serve) -> None:
    async with serve() as site:
        await put(site, 1)
        async with consuming(site, "?lease=1") as socket:
            await message(socket)
            assert await closed(socket) == 4408
        async with consuming(site) as socket:
            assert (await message(socket))["redelivered"] is True


@pytest.mark.gen_test
async def test_a_server_that_stops_ends_its_consumers(serve: Serve) -> None:
    async with serve() as site:
        await put(site, 1)
        async with consuming(site) as socket:
            await message(socket)
            site.app.stop_waiting()
            assert await closed(socket) == 1001
        await until(lambda: len(site.app.queues) == 0)
        with pytest.raises(HTTPClientError) as refused:
            async with consuming(site):
                pass
        assert refused.value.code == 503


@pytest.mark.gen_test
async def test_a_consumer_whose_broker_is_lost_is_to_come_again() -> None:
    bridge = FakeBridge({})
    async with topics_site(bridge) as site:
        await put(site, 1)
        async with consuming(site) as socket:
            await message(socket)
            bridge.end_consumers(Disconnected("lost"))
            assert await closed(socket) == 1013
    await bridge.stop()


@pytest.mark.gen_test
async def test_consumers_are_bounded() -> None:
    bridge = FakeBridge({})
    async with topics_site(bridge, max_consumers=1) as site:
        await put(site, 1)
        async with consuming(site):
            with pytest.raises(HTTPClientError) as refused:
                async with consuming(site):
                    pass
            assert refused.value.code == 503
        await until(lambda: len(site.app.queues) == 0)
        async with consuming(site) as socket:
            await message(socket)
    await bridge.stop()


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def handshake(site: TopicsSite, method: str = "GET", **changed: str | None) -> Streams:
    """Ask for a WebSocket, with headers changed, or left out where they are None."""
    headers = {
        "Host": f"127.0.0.1:{site.port}",
        "Upgrade": "websocket",
        "Connection": "keep-alive, Upgrade",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
        **changed,
    }
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value is not None]
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write("\r\n".join([f"{method} /queues/parcels/consumer HTTP/1.1", *lines, "\r\n"]).encode())
    return reader, writer


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("method", "changed", "status"),
    [
        ("HEAD", {}, 405),
        ("POST", {}, 405),
        ("GET", {"Origin": "http://elsewhere.example"}, 403),
        ("GET", {"Origin": "null"}, 403),
        ("GET", {"Sec_WebSocket_Version": "8"}, 426),
        ("GET", {"Sec_WebSocket_Version": None}, 426),
        ("GET", {"Sec_WebSocket_Key": None}, 400),
        ("GET", {"Sec_WebSocket_Key": "short"}, 400),
        ("GET", {"Connection": "keep-alive"}, 400),
        ("GET", {"Upgrade": None}, 426),
    ],
)
async def test_who_gets_no_socket_has_no_message_delivered(
    method: str, changed: dict[str, str | None], status: int
) -> None:
    bridge = FakeBridge({})
    async with topics_site(bridge) as site:
        await put(site, 1)
        reader, writer = await handshake(site, method, **changed)
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).decode()
        assert (head.split()[1], "application/problem+json" in head) == (str(status), True)
        writer.close()
        async with consuming(site) as socket:
            assert (await message(socket))["redelivered"] is False
    await bridge.stop()


@pytest.mark.gen_test
async def test_a_client_that_leaves_before_its_socket_is_open_takes_nothing_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class SlowBridge(FakeBridge):
        @asynccontextmanager
        async def consume(self, queue: str, *, prefetch: int = 1) -> AsyncIterator[Consumer]:
            await asyncio.Event().wait()
            yield  # type: ignore[misc]

    bridge = SlowBridge({})
    async with topics_site(bridge) as site:
        _, writer = await handshake(site)
        await until(lambda: len(site.app.queues) == 1)
        writer.close()
        await until(lambda: len(site.app.queues) == 0 and len(site.app.in_flight) == 0)
    await bridge.stop()
    assert "Error" not in caplog.text


@pytest.mark.gen_test
async def test_a_consumer_that_is_to_end_before_its_socket_is_open_is_closed_as_one_that_is(keys: Keys) -> None:
    consumed, go_on = asyncio.Event(), asyncio.Event()

    class SlowBridge(FakeBridge):
        @asynccontextmanager
        async def consume(self, queue: str, *, prefetch: int = 1) -> AsyncIterator[Consumer]:
            async with super().consume(queue, prefetch=prefetch) as consumer:
                consumed.set()
                await go_on.wait()
                yield consumer

    bridge, key = SlowBridge({}), keys.add("one", "queues")
    async with topics_site(bridge, keys=keys.path) as site:
        assert (await site.fetch(MESSAGES, 1, headers=key)).code == 202
        url = f"ws://127.0.0.1:{site.port}/queues/parcels/consumer"
        opening = asyncio.ensure_future(websocket_connect(HTTPRequest(url, headers=key)))
        await consumed.wait()
        site.app.gate.replace(Keyring([]))
        go_on.set()
        socket = await opening
        assert await closed(socket) == 4401
        socket.close()
        await until(lambda: len(site.app.queues) == 0)
    await bridge.stop()


@pytest.mark.gen_test
async def test_a_message_for_which_there_is_no_room_is_never_delivered_empty(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    vhost = request.getfixturevalue("vhost")
    with monkeypatch.context() as patch:
        patch.setattr("nowait.bridge.shared._MAX_BYTES", 50_000)
        async with running(vhost) as bridge, topics_site(bridge) as site:
            await put(site, *("x" * 60_000 for _ in range(3)))
            async with consuming(site, "?prefetch=3") as socket:
                assert await asyncio.wait_for(socket.read_message(), 20) is None
                assert socket.close_code == 1013
    async with running(vhost) as bridge, topics_site(bridge) as site, consuming(site) as socket:
        for _ in range(3):
            found = await message(socket)
            assert found["data"] == "x" * 60_000
            await socket.write_message(json.dumps({"ack": found["tag"]}))


@pytest.mark.gen_test
async def test_a_message_that_was_acknowledged_takes_no_room(vhost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nowait.bridge.shared._MAX_BYTES", 100_000)
    async with running(vhost) as bridge, topics_site(bridge) as site, consuming(site) as socket:
        for _ in range(3):
            await put(site, "x" * 60_000)
            found = await message(socket)
            await socket.write_message(json.dumps({"ack": found["tag"]}))


@pytest.mark.gen_test
async def test_a_message_that_its_client_does_not_read_is_held_no_longer_than_its_lease() -> None:
    bridge = FakeBridge({}, bounds={"parcels": 100})
    async with topics_site(bridge) as site:
        await bridge.publish("parcels", b'"' + b"x" * 20_000_000 + b'"', bounded=True)
        with socket.create_connection(("127.0.0.1", site.port)) as client:
            client.sendall(HANDSHAKE)
            await until(lambda: len(site.app.queues) == 1)

            def is_closed() -> bool:
                client.sendall(b"\x8a\x80\0\0\0\0")  # it is there, and answers pings
                return len(site.app.queues) == 0

            await until(is_closed)
        assert bridge.waiting("parcels") == 1
    await bridge.stop()


@pytest.mark.gen_test
async def test_a_wait_that_is_longer_than_a_request_may_take_ends_with_a_full_queue() -> None:
    bridge = FakeBridge({})
    async with topics_site(bridge, timeout=1.0, queues=Bounds({"parcels": 1})) as site:
        assert await put(site, 1) == [202]
        answer = await site.fetch(MESSAGES, 2, headers={"Prefer": "wait=60"})
        assert (answer.code, json.loads(answer.body)["type"]) == (503, "urn:problem-type:nowait:queue-full")
    await bridge.stop()


class CountingBridge(FakeBridge):
    """Counts what is published, and the bodies that were taken."""

    def __init__(self) -> None:
        super().__init__({})
        self.tries = 0
        self.taken: list[Any] = []

    def publish(self, routing_key: str, body: bytes, **options: Any) -> Call:
        self.tries += 1
        call = super().publish(routing_key, body, **options)
        if call.exception() is None:
            self.taken.append(json.loads(body))
        return call


@asynccontextmanager
async def waiting(bridge: FakeBridge, count: int) -> AsyncIterator[tuple[Queues, list["asyncio.Task[str]"]]]:
    """Producers, one after the other, that wait for room in a queue that is full."""
    queues = Queues(bridge, Topology.declared(), {"q": 1}, 10)
    await queues.put("q", b"-1", 10.0, 0.0)
    producers = []
    for number in range(count):
        producers.append(asyncio.create_task(queues.put("q", b"%d" % number, 10.0, 5.0)))
        await asyncio.sleep(0)
    yield queues, producers
    for producer in producers:
        producer.cancel()
    await asyncio.wait(producers)
    await bridge.stop()


@pytest.mark.gen_test
async def test_of_many_producers_that_wait_one_tries_and_all_get_in_as_they_have_come() -> None:
    bridge = CountingBridge()
    async with waiting(bridge, 20) as (queues, producers):
        await asyncio.sleep(0.5)
        # Each once, and the first one again and again: after 0.05 s, 0.1 s, 0.2 s, 0.25 s, or half of that.
        assert bridge.tries < 2 + 20 + 15
        # Nobody overtakes those who wait.
        with pytest.raises(QueueFull):
            await queues.put("q", b"99", 10.0, 0.0)
        async with bridge.consume("q", prefetch=1) as consumer:
            for _ in range(21):
                consumer.acknowledge((await asyncio.wait_for(consumer.next(), 20)).tag)
        await asyncio.gather(*producers)
        assert bridge.taken == [-1, *range(20)]


@pytest.mark.gen_test
async def test_what_becomes_of_a_message_is_seen_once_however_often_it_was_tried() -> None:
    bridge, seen = CountingBridge(), []

    def observe(queue: str, error: BaseException | None) -> None:
        seen.append((queue, type(error).__name__))

    queues = Queues(bridge, Topology.declared(), {"q": 1}, 10, observe)
    await queues.put("q", b"1", 10.0, 0.0)
    with pytest.raises(QueueFull):
        await queues.put("q", b"2", 10.0, 0.5)
    assert bridge.tries > 2
    waiting = asyncio.create_task(queues.put("q", b"3", 10.0, 5.0))
    await asyncio.sleep(0.1)
    # It does not get as far as the broker.
    with pytest.raises(QueueFull):
        await queues.put("q", b"4", 10.0, 0.0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert seen == [("q", "NoneType"), ("q", "QueueFull"), ("q", "QueueFull"), ("q", "CancelledError")]
    await bridge.stop()


@pytest.mark.gen_test
async def test_one_that_leaves_the_line_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    bridge = CountingBridge()
    async with waiting(bridge, 4) as (_, producers):
        await asyncio.sleep(0.1)
        producers[0].cancel()
        producers[2].cancel()
        async with bridge.consume("q", prefetch=1) as consumer:
            for _ in range(3):
                consumer.acknowledge((await asyncio.wait_for(consumer.next(), 20)).tag)
        assert bridge.taken == [-1, 1, 3]


@pytest.mark.gen_test
async def test_those_who_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.queues.queues._MAX_WAITING", 2)
    async with waiting(CountingBridge(), 3) as (queues, producers):
        with pytest.raises(QueueFull):
            await asyncio.wait_for(producers[2], 20)
        await asyncio.sleep(0.1)
        assert [producer.done() for producer in producers] == [False, False, True]


@pytest.mark.gen_test
async def test_a_bridge_that_is_busy_for_a_moment_ends_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    bridge = CountingBridge()
    async with waiting(bridge, 1) as (_, producers):
        await asyncio.sleep(0.1)
        with monkeypatch.context() as patch:
            patch.setattr(bridge, "publish", Mock(side_effect=Overloaded("busy")))
            async with bridge.consume("q", prefetch=1) as consumer:
                consumer.acknowledge((await consumer.next()).tag)
            await asyncio.sleep(0.3)
        await asyncio.wait_for(producers[0], 20)


def delivery(tag: int, body: bytes = b"{}") -> Delivery:
    return Delivery(tag, "", "", "", (body,), len(body), {"message_id": "m"}, ENVELOPE)


def test_a_session_knows_what_is_held_and_until_when() -> None:
    session = Session(10.0)
    assert session.due is None
    session.delivered(delivery(1), 5.0)
    session.delivered(delivery(2), 6.0)
    assert (session.due, len(session)) == (15.0, 2)
    assert session.settled('{"ack": 1}') == Command(True, 1)
    assert session.settled('{"hand_back":2}') == Command(False, 2)
    assert session.due is None
    with pytest.raises(BadCommand, match="tag"):
        session.settled('{"ack": 1}')


def test_what_is_no_json_is_delivered_in_base64() -> None:
    written = json.loads(Session(10.0).delivered(delivery(1, b"\xff"), 0.0))
    assert written == {"tag": 1, "message_id": "m", "redelivered": True, "base64": "/w=="}
    for body in (b"NaN", b'[1, -Infinity]', b"[" * 100_000):
        assert "base64" in json.loads(Session(10.0).delivered(delivery(1, body), 0.0))
