"""The routes of topics over HTTP, through a fake bridge and through a broker."""

import asyncio
import json
from pathlib import Path

import pytest
from kombu import Connection

from nowait.testing import FakeBridge
from nowait.topology import Topology
from server.names import Names
from tests.server.key_files import Keys
from tests.server.topics_site import (
    BOTH,
    MESSAGES,
    Serve,
    closed,
    consuming,
    message,
    over,
    over_broker,
    over_fake,
    topics_site,
)


@pytest.fixture(params=BOTH)
def serve(request: pytest.FixtureRequest) -> Serve:
    return over(request)


@pytest.mark.gen_test
async def test_a_message_reaches_every_subscriber_with_its_id_and_topic(serve: Serve) -> None:
    async with serve() as site:
        async with site.follow("/topics/news/events") as one, site.follow("/events?topics=news") as other:
            assert (one.status, other.status) == (200, 200)
            assert (await one.block(), await other.block()) != (None, None)  # where they begin
            answer = await site.fetch("/topics/news", {"rain": True})
            assert answer.code == 202
            sent = json.loads(answer.body)
            for follower in (one, other):
                block = await follower.block()
                assert block is not None and block.kind is None and block.id is not None
                assert block.data == {**sent, "data": {"rain": True}}


@pytest.mark.gen_test
async def test_events_come_in_order_and_from_the_last_id_on(serve: Serve) -> None:
    async with serve() as site:
        async with site.follow("/topics/news/events") as follower:
            await follower.block()
            for number in range(10):
                await site.fetch("/topics/news", number)
            assert await follower.events(10) == list(range(10))
        await site.fetch("/topics/news", 10)
        async with site.follow("/topics/news/events", follower.last_id) as again:
            await site.fetch("/topics/news", 11)
            assert await again.events(2) == [10, 11]


@pytest.mark.gen_test
async def test_a_client_that_has_seen_nothing_yet_resumes_as_well(serve: Serve) -> None:
    async with serve() as site:
        async with site.follow("/topics/news/events") as follower:
            await follower.block()
        await site.fetch("/topics/news", "missed")
        async with site.follow("/topics/news/events", follower.last_id) as again:
            assert await again.events(1) == ["missed"]


@pytest.mark.gen_test
async def test_subscribers_get_their_topics_alone(serve: Serve) -> None:
    async with serve(topics=Names(["a", "b", "c"])) as site:
        async with site.follow("/events?topics=a,b") as both, site.follow("/topics/c/events") as third:
            await both.block(), await third.block()
            for name in "abc":
                assert (await site.fetch(f"/topics/{name}", name)).code == 202
            assert (await both.events(2), await third.events(1)) == (["a", "b"], ["c"])


@pytest.mark.gen_test
async def test_an_id_of_another_log_is_an_event_of_its_own(serve: Serve) -> None:
    async with serve() as site:
        async with site.follow("/topics/news/events", "9" * 18) as follower:
            block = await follower.block()
            assert block is not None and block.kind == "reset" and block.id is not None
            await site.fetch("/topics/news", 1)
            assert await follower.events(1) == [1]


@pytest.mark.gen_test
async def test_a_log_that_is_deleted_and_made_anew_is_a_reset_for_all_who_knew_it(vhost: str) -> None:
    async with over_broker(vhost) as site, site.follow("/topics/news/events") as follower:
        await follower.block()
        for number in range(3):
            await site.fetch("/topics/news", number)
        assert await follower.events(3) == [0, 1, 2]
        known = follower.last_id
        with Connection(vhost) as connection:
            connection.default_channel.queue_delete(Topology.declared().topic_log)
        blocks = [await follower.block()]
        async with site.follow("/topics/news/events", known) as again:
            blocks.append(await again.block())
            assert [block is not None and block.kind for block in blocks] == ["reset", "reset"]
            await site.fetch("/topics/news", 3)
            assert (await follower.events(1), await again.events(1)) == ([3], [3])


@pytest.mark.gen_test
async def test_a_message_of_several_lines_is_sent_on_one(serve: Serve) -> None:
    async with serve() as site:
        async with site.follow("/topics/news/events") as follower:
            await follower.block()
            value = {"text": "line\nline", "list": [1, 2]}
            await site.fetch("/topics/news", json.dumps(value, indent=2).replace("\n", "\r\n").encode())
            await site.fetch("/topics/news", b"\xef\xbb\xbf[1]", headers={"Content-Type": "application/json"})
            assert await follower.events(2) == [value, [1]]


@pytest.mark.gen_test
async def test_subscribers_are_bounded_and_head_is_none() -> None:
    async with over_fake(max_subscribers=1) as site:
        head = await site.fetch("/topics/news/events", method="HEAD")
        assert (head.code, head.headers["Content-Type"]) == (200, "text/event-stream")
        async with site.follow("/topics/news/events") as follower:
            await follower.block()
            refused = await site.fetch("/topics/news/events")
            assert (refused.code, refused.headers["Retry-After"]) == (503, "1")
            assert json.loads(refused.body)["type"] == "urn:problem-type:nowait:overloaded"
        while (await site.fetch("/topics/news/events", method="HEAD")).code == 503:
            await asyncio.sleep(0.01)


@pytest.mark.gen_test
async def test_a_server_that_stops_ends_its_streams_at_once_and_whole(serve: Serve) -> None:
    async with serve() as site:
        async with site.follow("/topics/news/events") as follower:
            await follower.block()
            assert len(site.app.in_flight) == 1
            site.app.stop_waiting()
            assert await follower.block() is None
        assert len(site.app.in_flight) == 0


@pytest.mark.gen_test
async def test_a_subscriber_that_reads_nothing_is_closed() -> None:
    async with over_fake() as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=1024)
        writer.write(b"GET /topics/news/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not len(site.app.topics):
            await asyncio.sleep(0.01)
        text = "x" * 60_000
        while len(site.app.topics):
            await site.fetch("/topics/news", text)
        writer.close()


@pytest.mark.gen_test
async def test_a_broker_that_is_away_is_503_for_a_message_and_an_open_stream_for_a_subscriber() -> None:
    bridge = FakeBridge({})
    async with topics_site(bridge) as site:
        bridge.state = "connecting"
        answer = await site.fetch("/topics/news", {})
        assert (answer.code, json.loads(answer.body)["type"]) == (503, "urn:problem-type:nowait:broker-unavailable")
        async with site.follow("/topics/news/events") as follower:
            assert follower.status == 200
            bridge.state = "connected"
            await follower.block()
            await site.fetch("/topics/news", 1)
            assert await follower.events(1) == [1]
    await bridge.stop()


@pytest.mark.gen_test
async def test_whose_key_is_revoked_follows_and_consumes_no_more(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    other = keys.add("other")
    before = keys.path.read_text()
    one = keys.add("one", "topics queues")
    async with over_fake(keys=keys.path) as site:
        assert site.app.keys is not None
        async with (
            site.follow("/topics/news/events", **one) as follower,
            site.follow("/topics/news/events", **other) as another,
            consuming(site, headers=one) as socket,
        ):
            assert (follower.status, another.status) == (200, 200)
            assert (await follower.block(), await another.block()) != (None, None)  # where they begin
            await site.fetch(MESSAGES, 1, headers=other)
            assert (await message(socket))["data"] == 1
            keys.path.write_text(before)
            await site.app.keys.reload()
            assert await follower.block() is None
            assert await closed(socket) == 4401
            async with consuming(site, headers=other) as next_one:
                assert (await message(next_one))["redelivered"]
            async with site.follow("/topics/news/events", follower.last_id, **one) as again:
                assert again.status == 401
            await site.fetch("/topics/news", 2, headers=other)
            assert await another.events(1) == [2]
