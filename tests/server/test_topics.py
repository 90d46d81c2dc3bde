"""Topics without a broker: what is in memory, what a subscriber gets, and the whole log over a fake bridge."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from nowait.errors import Disconnected
from nowait.messages.stream import StreamMessage
from nowait.testing import FakeBridge
from nowait.topology import Topology
from server.topics.event import Event, Gap, Item, Position, Reset, event_of
from server.topics.feed import Feed, FeedClosed
from server.topics.log import TooManySubscribers, TopicLog
from server.topics.ring import Ring
from tests.bridge.conftest import until

NEWS = frozenset({"news"})
TOPOLOGY = Topology.declared()


def ignore() -> None: ...


def event(offset: int, topic: str = "news", size: int = 2) -> Event:
    return Event(offset, topic, b"x" * size)


def offsets(items: "list[Item] | list[Event] | None") -> list[int]:
    return [item.offset for item in items or []]


def filled(ring: Ring, *read: int) -> Ring:
    for offset in read:
        ring.read(offset, event(offset))
    return ring


def test_a_ring_has_all_behind_an_offset_or_none() -> None:
    ring = filled(Ring(3, 1000), 10, 11, 13, 14)
    assert (ring.behind, ring.last, len(ring)) == (10, 14, 3)
    assert ring.since(9, 100) is None
    assert offsets(ring.since(10, 100)) == [11, 13, 14]
    assert offsets(ring.since(12, 100)) == [13, 14]
    assert ring.since(14, 100) == []
    assert offsets(ring.since(10, 2)) == [11, 13]


def test_a_ring_that_has_read_no_event_is_behind_what_it_has_read() -> None:
    ring = Ring(3, 1000)
    assert ring.since(0, 100) is None
    ring.read(7, None)
    assert (ring.behind, ring.last, ring.since(6, 100)) == (6, 7, [])


def test_a_ring_is_bounded_in_bytes() -> None:
    ring = Ring(100, 10)
    for offset in range(5):
        ring.read(offset, event(offset, size=4))
    assert offsets(ring.since(2, 100)) == [3, 4] and ring.since(1, 100) is None


def test_a_ring_that_has_turned_often_is_whole() -> None:
    ring = filled(Ring(3, 1000), *range(100))
    assert (len(ring), ring.behind, offsets(ring.since(96, 100))) == (3, 96, [97, 98, 99])


def test_a_ring_that_is_cleared_knows_nothing() -> None:
    ring = filled(Ring(3, 1000), 10)
    ring.clear()
    assert (ring.since(10, 100), ring.last) == (None, -1)


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (b'{"a": 1}', b'{"topic": "news", "message_id": "m", "data": {"a": 1}}'),
        (" \"ü\" ".encode(), '{"topic": "news", "message_id": "m", "data": "ü"}'.encode()),
        (b"", None),
        (b"[1,\n2]", None),
        (b"\xff", None),
        (b"[1, NaN]", None),
        (b"-Infinity", None),
        (b"[" * 100_000, None),
        (b"1\ndata: 2", None),
    ],
)  # fmt: skip
def test_an_event_is_json_on_one_line_or_none(body: bytes, document: bytes | None) -> None:
    found = event_of(StreamMessage(5, "", "topics.log", "news", "m", "", body))
    assert (None if found is None else found.document) == document


def test_a_message_of_an_exchange_has_its_topic_as_its_routing_key() -> None:
    found = event_of(StreamMessage(5, "topics", "news", "", "m", "", b"1"))
    assert found is not None and found.topic == "news"


@pytest.mark.gen_test
async def test_a_feed_gives_each_event_of_its_topics_once() -> None:
    feed = Feed(NEWS, ignore)
    for each in (event(1), event(2, "other"), event(3), event(3), event(1)):
        feed.put(each)
    assert offsets(await feed.take(1)) == [1, 3]
    assert await feed.take(0.01) == []
    feed.skip(9)
    feed.put(event(8))
    feed.put(event(10))
    assert offsets(await feed.take(1)) == [10]


@pytest.mark.gen_test
async def test_a_feed_that_is_not_taken_is_closed() -> None:
    overflows: list[bool] = []
    feed = Feed(NEWS, lambda: overflows.append(True))
    for offset in range(256):
        feed.put(event(offset))
    assert not feed.closed
    feed.put(event(256))
    assert overflows == [True] and feed.closed and await feed.take(1) is None
    with pytest.raises(FeedClosed):
        await feed.room()


@pytest.mark.gen_test
async def test_a_feed_has_room_again_once_a_half_is_taken() -> None:
    feed = Feed(NEWS, ignore)
    for offset in range(200):
        feed.put(event(offset, size=10_000))
    waiting = asyncio.create_task(feed.room())
    taken = await feed.take(1)
    assert taken is not None and len(taken) == 27  # 256 KiB
    await asyncio.sleep(0)
    assert not waiting.done()
    for _ in range(2):
        await feed.take(1)
    await waiting


@pytest.fixture(autouse=True)
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.topics.log._RING_COUNT", 1000)


@asynccontextmanager
async def serving(bridge: FakeBridge, limit: int = 100) -> AsyncIterator[TopicLog]:
    log = TopicLog(bridge, TOPOLOGY, limit)
    try:
        yield log
    finally:
        log.close()
        await bridge.stop()


async def collect(feed: Feed, count: int) -> list[Item]:
    """The next items, positions left out."""
    found: list[Item] = []
    while len(found) < count:
        items = await feed.take(10)
        assert items, f"{len(found)} of {count} came"
        found += [item for item in items if not isinstance(item, Position)]
    return found


async def position(feed: Feed) -> int:
    (item,) = await feed.take(10) or []
    assert isinstance(item, Position)
    return item.offset


async def publish(log: TopicLog, *bodies: bytes) -> None:
    for body in bodies:
        await log.publish("news", body, 10)


def bodies(items: list[Item]) -> list[bytes]:
    return [item.document.rpartition(b'"data": ')[2][:-1] for item in items if isinstance(item, Event)]


@pytest.mark.gen_test
async def test_every_subscriber_gets_each_message_from_when_it_came() -> None:
    async with serving(FakeBridge({})) as log:
        with log.subscribe(NEWS, None, ignore) as first:
            await position(first)
            await publish(log, b"1")
            others = frozenset({"other"})
            with log.subscribe(NEWS, None, ignore) as second, log.subscribe(others, None, ignore) as other:
                await position(second), await position(other)
                await publish(log, b"2", b"3")
                assert bodies(await collect(first, 3)) == [b"1", b"2", b"3"]
                assert bodies(await collect(second, 2)) == [b"2", b"3"]
                assert await other.take(0.05) == []
        assert len(log) == 0


@pytest.mark.gen_test
async def test_who_comes_with_an_id_misses_nothing_even_without_a_message_before() -> None:
    async with serving(FakeBridge({})) as log:
        with log.subscribe(NEWS, None, ignore) as feed:
            last = await position(feed)
        await publish(log, *(b"%d" % number for number in range(300)))
        with log.subscribe(NEWS, last, ignore) as feed:
            found = await collect(feed, 300)
            assert bodies(found) == [b"%d" % number for number in range(300)]
        with log.subscribe(NEWS, found[100].offset, ignore) as feed:
            assert bodies(await collect(feed, 199))[0] == b"101"


@pytest.mark.gen_test
async def test_what_is_older_than_the_memory_is_read_from_the_log() -> None:
    async with serving(FakeBridge({})) as log:
        with log.subscribe(NEWS, None, ignore) as feed:
            last = await position(feed)
        await publish(log, *(b"%d" % number for number in range(2500)))
        followers = [log.subscribe(NEWS, last, ignore) for _ in range(10)]
        feeds = [follower.__enter__() for follower in followers]
        live = asyncio.create_task(publish(log, *(b"%d" % number for number in range(2500, 2600))))
        for found in await asyncio.gather(*(collect(feed, 2600) for feed in feeds)):
            assert bodies(found) == [b"%d" % number for number in range(2600)]
        await live
        for follower in followers:
            follower.__exit__(None, None, None)


@pytest.mark.gen_test
async def test_a_lost_connection_leaves_no_hole_and_brings_nothing_twice() -> None:
    bridge = FakeBridge({})
    async with serving(bridge) as log:
        with log.subscribe(NEWS, None, ignore) as feed:
            await position(feed)
            await publish(log, b"1")
            assert bodies(await collect(feed, 1)) == [b"1"]
            bridge.end_consumers(Disconnected("lost"))
            await publish(log, b"2", b"3")
            assert bodies(await collect(feed, 2)) == [b"2", b"3"]
            assert await feed.take(0.05) == []


@pytest.mark.gen_test
async def test_an_id_of_another_log_is_a_reset() -> None:
    async with serving(FakeBridge({})) as log:
        await publish(log, b"1")
        with log.subscribe(NEWS, 10**17, ignore) as feed:
            (reset,) = await collect(feed, 1)
            assert isinstance(reset, Reset)
            await publish(log, b"2")
            assert bodies(await collect(feed, 1)) == [b"2"]


@pytest.mark.gen_test
async def test_a_log_that_is_replaced_is_a_reset_for_all() -> None:
    bridge = FakeBridge({})
    async with serving(bridge) as log:
        with log.subscribe(NEWS, None, ignore) as feed:
            await position(feed)
            await publish(log, *[b"1"] * 20)
            await collect(feed, 20)
            bridge.replace_stream(TOPOLOGY.topic_log)
            (reset,) = await collect(feed, 1)
            assert isinstance(reset, Reset)
            await publish(log, b"2")
            assert bodies(await collect(feed, 1)) == [b"2"]


@pytest.mark.gen_test
async def test_what_is_gone_is_a_gap() -> None:
    bridge = FakeBridge({})
    async with serving(bridge) as log:
        with log.subscribe(NEWS, None, ignore) as feed:
            first = await position(feed)
            await publish(log, *[b"%d" % number for number in range(1100)])
            await until(lambda: f"up to {first + 1100}" in repr(log))
        bridge.truncate_stream(TOPOLOGY.topic_log, first + 50)
        with log.subscribe(NEWS, first + 10, ignore) as feed:
            found = await collect(feed, 1 + 1051)
            assert isinstance(found[0], Gap) and found[0].offset == first + 50
            assert bodies(found[1:]) == [b"%d" % number for number in range(49, 1100)]


@pytest.mark.gen_test
async def test_subscribers_are_bounded_and_leave_nothing_behind() -> None:
    async with serving(FakeBridge({}), limit=1) as log:
        with log.subscribe(NEWS, None, ignore):
            with pytest.raises(TooManySubscribers):
                with log.subscribe(NEWS, None, ignore):
                    pass
        with log.subscribe(NEWS, None, ignore) as feed:
            await position(feed)


@pytest.mark.gen_test
async def test_a_log_that_is_closed_ends_all_at_once() -> None:
    async with serving(FakeBridge({})) as log:
        with log.subscribe(NEWS, None, ignore) as feed:
            taking = asyncio.create_task(feed.take(60))
            await asyncio.sleep(0)
            log.close()
            assert (await taking or []) == [] and await feed.take(60) is None
        with log.subscribe(NEWS, None, ignore) as feed:
            assert await feed.take(60) is None
