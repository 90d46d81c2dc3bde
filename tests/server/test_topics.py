"""Topics without a broker: what is in memory, what a subscriber gets, and the whole log over a fake bridge."""

import asyncio
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from nowait.errors import Disconnected
from nowait.messages.stream import StreamMessage
from nowait.testing import FakeBridge
from nowait.topology import Topology
from server.topics.event import Event, Gap, Item, Position, Reset, event_of
from server.topics.log import TooManySubscribers, TopicLog
from server.topics.ring import Ring
from server.topics.stream import TopicStream
from server.topics.subscriber import Subscriber
from tests.bridge.conftest import until

NEWS = frozenset({"news"})
TOPOLOGY = Topology.declared()


def event(offset: int, topic: str = "news", size: int = 2) -> Event:
    return Event(offset, topic, b"x" * size)


def offsets(items: Sequence[Item]) -> list[int]:
    return [item.offset for item in items]


def filled(ring: Ring, *read: int) -> Ring:
    for offset in read:
        ring.read(offset, event(offset))
    return ring


def since(ring: Ring, offset: int, size: int = 1000) -> tuple[list[int], int]:
    found, last = ring.since(offset, NEWS, size)
    return offsets(found), last


def test_a_ring_has_all_behind_an_offset_or_none() -> None:
    ring = filled(Ring(3, 1000), 10, 11, 13, 14)
    assert (ring.behind, ring.last, len(ring)) == (10, 14, 3)
    assert not ring.has(9) and ring.has(10)
    assert since(ring, 10) == ([11, 13, 14], 14)
    assert since(ring, 12) == ([13, 14], 14)
    assert since(ring, 14) == ([], 14)
    assert since(ring, 20) == ([], 20)


def test_a_ring_gives_no_more_at_once_than_it_is_asked_for() -> None:
    ring = filled(Ring(10, 1000), 1, 2, 3)
    assert since(ring, 0, size=3) == ([1, 2], 2)
    assert since(ring, 2, size=1) == ([3], 3)


def test_a_ring_gives_the_events_of_some_topics_and_how_far_they_are_all() -> None:
    ring = filled(Ring(10, 1000), 1)
    ring.read(2, event(2, "other"))
    ring.read(3, None)
    assert since(ring, 0) == ([1], 3)
    assert offsets(ring.since(0, {"news", "other"}, 1000)[0]) == [1, 2]


def test_a_ring_that_has_read_no_event_is_behind_what_it_has_read() -> None:
    ring = Ring(3, 1000)
    assert not ring.has(0)
    ring.read(7, None)
    assert (ring.behind, ring.last, ring.has(6), since(ring, 6)) == (6, 7, True, ([], 7))


def test_a_ring_is_bounded_in_bytes() -> None:
    ring = Ring(100, 10)
    for offset in range(5):
        ring.read(offset, event(offset, size=4))
    assert since(ring, 2) == ([3, 4], 4) and not ring.has(1)


def test_a_ring_that_has_turned_often_is_whole() -> None:
    ring = filled(Ring(3, 1000), *range(100))
    assert (len(ring), ring.behind, since(ring, 96)) == (3, 96, ([97, 98, 99], 99))


def test_a_ring_holds_no_more_than_its_bound_and_a_sixteenth() -> None:
    ring, held = Ring(160, 10_000), []
    for offset in range(400):
        read = event(offset)
        held.append(weakref.ref(read))
        ring.read(offset, read)
        del read
        assert sum(each() is not None for each in held) <= 160 + 160 // 16


def test_a_ring_that_is_cleared_knows_nothing() -> None:
    ring = filled(Ring(3, 1000), 10)
    ring.clear()
    assert (ring.has(10), ring.last) == (False, -1)


def test_a_client_is_given_how_far_it_is_once_when_nothing_was_for_it() -> None:
    subscriber = Subscriber(NEWS, None)
    assert subscriber.given([]) == []
    subscriber.begin(5)
    assert subscriber.given([Position(5)]) == [Position(5)]
    assert subscriber.given([]) == []
    subscriber.after = 9
    assert subscriber.given([]) == [Position(9)]
    assert subscriber.given([]) == []
    subscriber.after = 20
    assert subscriber.given([event(15)]) == [event(15)]
    assert subscriber.given([]) == [Position(20)]
    assert subscriber.given([Gap(30)]) == [Gap(30)] and subscriber.given([]) == []


@pytest.mark.gen_test
async def test_a_subscriber_waits_until_there_is_something_for_it() -> None:
    subscriber = Subscriber(NEWS, None)
    subscriber.wake()
    assert not await subscriber.wait(0.01)
    waiting = asyncio.create_task(subscriber.wait(60))
    await asyncio.sleep(0)
    subscriber.wake()
    subscriber.wake()
    assert await waiting


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


@pytest.fixture(autouse=True)
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.topics.log._RING_COUNT", 1000)
    monkeypatch.setattr("server.topics.log._BACK", 1000)


@asynccontextmanager
async def serving(bridge: FakeBridge, limit: int = 100) -> AsyncIterator[TopicLog]:
    log = TopicLog(TopicStream(bridge, TOPOLOGY), frozenset({"news", "other"}), limit)
    try:
        yield log
    finally:
        log.close()
        await bridge.stop()


class Follower:
    """A subscriber, and what it gets."""

    def __init__(self, batches: AsyncGenerator[Sequence[Item], None]) -> None:
        self.batches = batches

    async def take(self) -> Sequence[Item] | None:
        return await asyncio.wait_for(anext(self.batches, None), 20)

    async def collect(self, count: int) -> list[Item]:
        """The next items, positions left out."""
        found: list[Item] = []
        while len(found) < count:
            items = await self.take()
            assert items is not None, f"{len(found)} of {count} came"
            found += [item for item in items if not isinstance(item, Position)]
        assert len(found) == count
        return found

    async def position(self) -> int:
        (item,) = await self.take() or []
        assert isinstance(item, Position)
        return item.offset


@asynccontextmanager
async def following(
    log: TopicLog, after: int | None = None, topics: frozenset[str] = NEWS, silence: float = 60
) -> AsyncIterator[Follower]:
    async with log.subscribe(topics, after, silence) as batches:
        yield Follower(batches)


async def publish(log: TopicLog, *bodies: bytes, topic: str = "news") -> None:
    for body in bodies:
        await log.publish(topic, body, 10)


def numbers(begin: int, end: int) -> list[bytes]:
    return [b"%d" % number for number in range(begin, end)]


def bodies(items: list[Item]) -> list[bytes]:
    return [item.document.rpartition(b'"data": ')[2][:-1] for item in items if isinstance(item, Event)]


@pytest.mark.gen_test
async def test_every_subscriber_gets_each_message_from_when_it_came() -> None:
    async with serving(FakeBridge({})) as log:
        async with following(log) as first:
            await first.position()
            await publish(log, b"1")
            others = following(log, topics=frozenset({"other"}), silence=0.05)
            async with following(log) as second, others as other:
                await second.position(), await other.position()
                await publish(log, b"2", b"3")
                assert bodies(await first.collect(3)) == [b"1", b"2", b"3"]
                assert bodies(await second.collect(2)) == [b"2", b"3"]
                # What was nothing to it, it is not to read once more when it comes again.
                assert await other.position() > 0
                assert await other.take() == []
        assert len(log) == 0


@pytest.mark.gen_test
async def test_who_comes_with_an_id_misses_nothing_even_without_a_message_before() -> None:
    async with serving(FakeBridge({})) as log:
        async with following(log) as feed:
            last = await feed.position()
        await publish(log, *numbers(0, 300))
        async with following(log, last) as feed:
            found = await feed.collect(300)
            assert bodies(found) == numbers(0, 300)
        async with following(log, found[100].offset) as feed:
            assert bodies(await feed.collect(199)) == numbers(101, 300)


@pytest.mark.gen_test
async def test_a_burst_reaches_those_who_take_it_whole() -> None:
    async with serving(FakeBridge({})) as log:
        async with following(log) as one, following(log) as other:
            await one.position(), await other.position()
            await publish(log, *numbers(0, 900))
            assert bodies(await one.collect(900)) == bodies(await other.collect(900)) == numbers(0, 900)


@pytest.mark.gen_test
async def test_what_comes_while_a_subscriber_is_given_the_rest_is_not_left_out() -> None:
    async with serving(FakeBridge({})) as log:
        async with following(log) as feed:
            last = await feed.position()
        await publish(log, *numbers(0, 500))
        # An id from ahead has a mark written: the last message of the log is none then.
        async with following(log, 10**17) as ahead:
            assert isinstance((await ahead.collect(1))[0], Reset)
        live = asyncio.create_task(publish(log, *numbers(500, 600)))
        async with following(log, last) as feed:
            assert bodies(await feed.collect(600)) == numbers(0, 600)
        await live


@pytest.mark.gen_test
async def test_what_is_older_than_the_memory_is_read_from_the_log() -> None:
    async with serving(FakeBridge({})) as log, AsyncExitStack() as stack:
        async with following(log) as feed:
            last = await feed.position()
        await publish(log, *numbers(0, 2500))
        feeds = [await stack.enter_async_context(following(log, last)) for _ in range(10)]
        live = asyncio.create_task(publish(log, *numbers(2500, 2600)))
        for found in await asyncio.gather(*(feed.collect(2600) for feed in feeds)):
            assert bodies(found) == numbers(0, 2600)
        await live


@pytest.mark.gen_test
async def test_a_subscriber_that_takes_too_little_is_given_what_has_left_memory_meanwhile() -> None:
    async with serving(FakeBridge({})) as log:
        async with following(log) as feed:
            await feed.position()
            await publish(log, *numbers(0, 3000))
            await until(lambda: "up to 3000" in repr(log))
            assert bodies(await feed.collect(3000)) == numbers(0, 3000)


@pytest.mark.gen_test
async def test_who_catches_up_as_the_log_is_closed_has_got_all_up_to_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.topics.log._MAX_TAKEN", 30)
    async with serving(FakeBridge({})) as log:
        async with following(log) as feed:
            last = await feed.position()
        await publish(log, *numbers(0, 2500))
        async with following(log, last) as feed:
            found = [*(await feed.take() or [])]
            for _ in range(100):  # the next ones are read, while the client takes these
                await asyncio.sleep(0)
            log.close()
            while (items := await feed.take()) is not None:
                found += items
    assert 0 < len(found) < 2500
    assert found[-1].offset - last == len(found) == len(bodies(found))


@pytest.mark.gen_test
async def test_a_turn_to_catch_up_ends_and_the_next_one_goes_on_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.topics.log._CATCH_UP_TIME", 0)
    async with serving(FakeBridge({})) as log:
        async with following(log) as feed:
            last = await feed.position()
        await publish(log, *numbers(0, 1500), topic="other")
        await publish(log, b"1")
        async with following(log, last) as feed:
            positions = [await feed.position() for _ in range(100)]
            assert positions == sorted(set(positions)) and positions[0] > last
            assert bodies(await feed.collect(1)) == [b"1"]


@pytest.mark.gen_test
async def test_a_lost_connection_leaves_no_hole_and_brings_nothing_twice() -> None:
    bridge = FakeBridge({})
    async with serving(bridge) as log:
        async with following(log, silence=0.2) as feed:
            await feed.position()
            await publish(log, b"1")
            assert bodies(await feed.collect(1)) == [b"1"]
            bridge.end_consumers(Disconnected("lost"))
            await publish(log, b"2", b"3")
            assert bodies(await feed.collect(2)) == [b"2", b"3"]
            assert bodies(list(await feed.take() or [])) == []


@pytest.mark.gen_test
async def test_an_id_of_another_log_is_a_reset() -> None:
    async with serving(FakeBridge({})) as log:
        await publish(log, b"1")
        async with following(log, 10**17) as feed:
            (reset,) = await feed.collect(1)
            assert isinstance(reset, Reset)
            await publish(log, b"2")
            assert bodies(await feed.collect(1)) == [b"2"]


@pytest.mark.gen_test
async def test_those_who_come_at_once_with_ids_from_ahead_share_a_mark() -> None:
    async with serving(FakeBridge({})) as log, AsyncExitStack() as stack:
        async with following(log) as feed:
            last = await feed.position()
        feeds = [await stack.enter_async_context(following(log, 10**17)) for _ in range(50)]
        resets = await asyncio.gather(*(feed.collect(1) for feed in feeds))
        assert {type(reset) for (reset,) in resets} == {Reset}
        assert max(reset.offset for (reset,) in resets) == last + 1


@pytest.mark.gen_test
async def test_an_id_from_ahead_holds_up_none_of_those_who_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(FakeBridge({})) as log:
        async with following(log) as feed:
            last = await feed.position()
        await publish(log, b"1")
        marking = asyncio.Event()

        async def never(_stream: TopicStream, _mark: str) -> None:
            marking.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(TopicStream, "mark", never)
        async with following(log, 10**17) as ahead, following(log, last) as again:
            waiting = asyncio.create_task(ahead.take())
            await asyncio.wait_for(marking.wait(), 20)
            assert bodies(await again.collect(1)) == [b"1"]
            assert not waiting.done()
            waiting.cancel()
            await asyncio.wait([waiting])


@pytest.mark.gen_test
@pytest.mark.parametrize("count", [0, 50], ids=["shorter", "longer"])
async def test_a_log_that_is_replaced_is_a_reset_for_all(count: int) -> None:
    bridge = FakeBridge({})
    async with serving(bridge) as log:
        async with following(log) as feed:
            await feed.position()
            await publish(log, *[b"1"] * 20)
            await feed.collect(20)
            bridge.replace_stream(TOPOLOGY.topic_log)
            await publish(log, *[b"x"] * count)
            (reset,) = await feed.collect(1)
            assert isinstance(reset, Reset)
            await publish(log, b"2")
            assert bodies(await feed.collect(1)) == [b"2"]


@pytest.mark.gen_test
async def test_what_is_gone_is_a_gap() -> None:
    bridge = FakeBridge({})
    async with serving(bridge) as log:
        async with following(log) as feed:
            first = await feed.position()
            await publish(log, *numbers(0, 1100))
            await until(lambda: f"up to {first + 1100}" in repr(log))
        bridge.truncate_stream(TOPOLOGY.topic_log, first + 50)
        async with following(log, first + 10) as feed:
            found = await feed.collect(1 + 1051)
            assert isinstance(found[0], Gap) and found[0].offset == first + 50
            assert bodies(found[1:]) == numbers(49, 1100)


@pytest.mark.gen_test
async def test_a_log_that_was_not_read_while_it_was_cut_is_a_gap_for_all(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.topics.log._FIRST_PAUSE", 1.0)
    bridge = FakeBridge({})
    async with serving(bridge) as log:
        async with following(log) as feed:
            first = await feed.position()
            bridge.end_consumers(Disconnected("lost"))
            await until(lambda: "trying again: lost" in caplog.text)
            for body in numbers(0, 20):
                bridge.publish(TOPOLOGY.topic_log, body, kind="news").result()
            bridge.truncate_stream(TOPOLOGY.topic_log, first + 10)
            found = await feed.collect(1 + 11)
            assert isinstance(found[0], Gap) and bodies(found[1:]) == numbers(9, 20)


@pytest.mark.gen_test
async def test_subscribers_are_bounded_and_leave_nothing_behind() -> None:
    async with serving(FakeBridge({}), limit=1) as log:
        async with following(log):
            with pytest.raises(TooManySubscribers):
                async with following(log):
                    pass
        async with following(log) as feed:
            await feed.position()


@pytest.mark.gen_test
async def test_a_log_that_is_closed_ends_all_at_once() -> None:
    async with serving(FakeBridge({})) as log:
        async with following(log) as feed, following(log) as new:
            await feed.position()
            taking = [asyncio.create_task(feed.take()), asyncio.create_task(new.take())]
            await asyncio.sleep(0)
            log.close()
            assert await asyncio.gather(*taking) == [None, None]
        async with following(log) as feed:
            assert await feed.take() is None
