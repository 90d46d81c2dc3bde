"""Bounded queues over HTTP and WebSocket, through a fake bridge and through a broker; a consumer's session alone."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from kombu import Connection
from tornado.httpclient import HTTPClientError

from nowait.amqp.methods import Delivery
from nowait.errors import Disconnected
from nowait.testing import FakeBridge
from server.names import Bounds
from server.queues.session import BadCommand, Command, Session
from tests.bridge.conftest import running, until
from tests.server.topics_site import MESSAGES, TopicsSite, closed, consuming, message, put, topics_site

Serve = Callable[..., AbstractAsyncContextManager[TopicsSite]]
ENVELOPE = b"\x00\x3c\x00\x3c\x00" + bytes(8) + b"\x01\x00\x00"  # delivered again, no names


@pytest.fixture(params=["fake", "broker"])
def serve(request: pytest.FixtureRequest) -> Serve:
    @asynccontextmanager
    async def over_fake(**settings: Any) -> AsyncIterator[TopicsSite]:
        bridge = FakeBridge({})
        async with topics_site(bridge, **settings) as site:
            yield site
        await bridge.stop()

    @asynccontextmanager
    async def over_broker(**settings: Any) -> AsyncIterator[TopicsSite]:
        async with running(request.getfixturevalue("vhost")) as bridge, topics_site(bridge, **settings) as site:
            yield site

    if request.param == "broker":
        request.getfixturevalue("vhost")
        return over_broker
    return over_fake


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
