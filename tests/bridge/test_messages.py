"""Messages that are no tasks: the same tests over the bridge with a broker and over its fake."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from amqp.serialization import dumps

from deploy.local.services import Services
from nowait.amqp import methods
from nowait.amqp.methods import Delivery
from nowait.bridge import Consumer
from nowait.bridge.subscription import subscribe
from nowait.errors import BridgeError, DeadlineExceeded, Overloaded, QueueFull, Refused, Stopped, Unroutable
from nowait.messages.stream import StreamMessage
from nowait.testing import FakeBridge
from tests.bridge.conftest import running, until

Make = Callable[..., AbstractAsyncContextManager[Any]]
STREAM = {"x-queue-type": "stream"}


@asynccontextmanager
async def faking(**options: Any) -> AsyncIterator[FakeBridge]:
    bridge = FakeBridge({}, **options)
    yield bridge
    await bridge.stop()


@pytest.fixture(params=["fake", "real"])
def make(request: pytest.FixtureRequest) -> Make:
    if request.param == "fake":
        return faking
    services: Services = request.getfixturevalue("services")
    return partial(running, services.broker_url)


@pytest.fixture
def name() -> str:
    """Of a queue that no other test uses."""
    return f"tests.{uuid4().hex}"


def bounded(length: int) -> dict[str, Any]:
    return {"x-max-length": length, "x-overflow": "reject-publish", "x-expires": 600_000}


async def failure(call: "asyncio.Future[Any]") -> BridgeError:
    with pytest.raises(BridgeError) as caught:
        await call
    return caught.value


async def read(bridge: Any, name: str, count: int, **options: Any) -> list[StreamMessage]:
    """The next messages of a stream."""
    found: list[StreamMessage] = []
    async with aclosing(bridge.subscribe(name, **options)) as messages:
        while len(found) < count:
            found.append(await asyncio.wait_for(anext(messages), 10))
    return found


async def bodies(bridge: Any, name: str, count: int, **options: Any) -> list[bytes]:
    return [message.body for message in await read(bridge, name, count, **options)]


@pytest.mark.gen_test
async def test_a_message_is_confirmed_and_consumed_with_what_it_was_published_with(make: Make, name: str) -> None:
    async with make() as bridge:
        await bridge.declare(name, bounded(10))
        assert await bridge.publish(name, b'{"a":1}', kind="letter", message_id="m-1") is None
        async with bridge.consume(name) as consumer:
            delivery = await consumer.next()
            assert (delivery.body, delivery.content_type) == (b'{"a":1}', "application/json")
            assert (delivery.properties["type"], delivery.properties["message_id"]) == ("letter", "m-1")
            assert (delivery.source().routing_key, delivery.source().redelivered) == (name, False)
            consumer.acknowledge(delivery.tag)


@pytest.mark.gen_test
async def test_a_message_without_a_queue_is_unroutable_and_costs_nothing_else(make: Make, name: str) -> None:
    async with make() as bridge:
        error = await failure(bridge.publish(name, b"{}"))
        assert isinstance(error, Unroutable) and error.status == 503
        await bridge.declare(name, bounded(10))
        await bridge.publish(name, b"{}")


@pytest.mark.gen_test
async def test_a_deadline_in_the_past_publishes_nothing(make: Make, name: str) -> None:
    async with make() as bridge:
        await bridge.declare(name, bounded(10))
        assert isinstance(await failure(bridge.publish(name, b"{}", timeout=0)), DeadlineExceeded)


@pytest.mark.gen_test
async def test_a_full_queue_refuses_and_takes_again_once_there_is_room(make: Make, name: str) -> None:
    async with make() as bridge:
        await bridge.declare(name, bounded(2))
        ends = await asyncio.gather(
            *(bridge.publish(name, b"%d" % number, bounded=True) for number in range(5)), return_exceptions=True
        )
        assert [type(end) for end in ends] == [type(None)] * 2 + [QueueFull] * 3
        assert (ends[4].status, ends[4].retry_after) == (503, 1.0)
        # Whoever does not expect it has a message refused.
        assert type(await failure(bridge.publish(name, b"x"))) is Refused
        async with bridge.consume(name) as consumer:
            consumer.acknowledge((await consumer.next()).tag)
            consumer.acknowledge((await consumer.next()).tag)
            await bridge.publish(name, b"5", bounded=True)
            assert (await asyncio.wait_for(consumer.next(), 10)).body == b"5"


@pytest.mark.gen_test
async def test_a_consumer_has_as_many_as_it_may_and_each_goes_to_one(make: Make, name: str) -> None:
    async with make() as bridge:
        await bridge.declare(name, bounded(100))
        for number in range(6):
            await bridge.publish(name, b"%d" % number)
        async with bridge.consume(name, prefetch=2) as first, bridge.consume(name, prefetch=1) as second:
            mine = [await first.next(), await first.next()]
            other = await asyncio.wait_for(second.next(), 10)
            assert sorted(each.body for each in (*mine, other)) == [b"0", b"1", b"2"]
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(first.next(), 0.1)
            first.acknowledge(mine[1].tag, multiple=True)
            assert {(await first.next()).body, (await first.next()).body} == {b"3", b"4"}


@pytest.mark.gen_test
async def test_what_is_not_acknowledged_goes_back(make: Make, name: str) -> None:
    async with make() as bridge:
        await bridge.declare(name, bounded(100))
        for number in range(3):
            await bridge.publish(name, b"%d" % number)
        async with bridge.consume(name, prefetch=3) as consumer:
            taken = [await consumer.next() for _ in range(3)]
            consumer.acknowledge(taken[0].tag)
            consumer.hand_back(taken[1].tag)
            again = await asyncio.wait_for(consumer.next(), 10)
            assert (again.body, again.source().redelivered) == (b"1", True)
        async with bridge.consume(name, prefetch=3) as consumer:
            found = [await asyncio.wait_for(consumer.next(), 10) for _ in range(2)]
            assert [(each.body, each.source().redelivered) for each in found] == [(b"1", True), (b"2", True)]


@pytest.mark.gen_test
async def test_who_waits_for_a_message_waits_no_more_once_the_consumer_is_closed(make: Make, name: str) -> None:
    async with make() as bridge:
        await bridge.declare(name, bounded(100))
        async with bridge.consume(name) as consumer:
            waits = asyncio.ensure_future(consumer.next())
            await asyncio.sleep(0)
        assert isinstance(await failure(asyncio.wait_for(waits, 10)), Stopped)


@pytest.mark.gen_test
async def test_a_queue_that_is_not_there_is_unroutable_for_its_consumer_alone(make: Make, name: str) -> None:
    async with make() as bridge:
        await bridge.declare(name, bounded(100))
        async with bridge.consume(name) as consumer:
            with pytest.raises(Unroutable):
                async with bridge.consume(f"{name}.gone"):
                    pass
            await bridge.publish(name, b"{}")
            assert (await asyncio.wait_for(consumer.next(), 10)).body == b"{}"


@pytest.mark.gen_test
async def test_a_stream_is_read_from_where_its_reader_wants(make: Make, name: str) -> None:
    async with make() as bridge:
        await bridge.declare(name, STREAM)
        for number in range(20):
            await bridge.publish(name, b"%d" % number, kind="t", message_id=f"m-{number}")
        found = await read(bridge, name, 20, offset="first")
        assert [each.body for each in found] == [b"%d" % number for number in range(20)]
        assert [each.message_id for each in found] == [f"m-{number}" for number in range(20)]
        assert (found[0].routing_key, found[0].kind) == (name, "t")
        offsets = [each.offset for each in found]
        assert offsets == sorted(set(offsets))
        assert await bodies(bridge, name, 5, offset=offsets[15]) == [b"15", b"16", b"17", b"18", b"19"]
        assert await bodies(bridge, name, 1, offset=timedelta(hours=1)) == [b"0"]
        # A prefetch below what there is: acknowledgements go back in time.
        assert len(await bodies(bridge, name, 20, offset="first", prefetch=3)) == 20
        assert len(await bodies(bridge, name, 20, offset="first", prefetch=1)) == 20


@pytest.mark.gen_test
async def test_a_stream_is_followed_by_all_who_read_it(make: Make, name: str) -> None:
    async with make() as bridge:
        await bridge.declare(name, STREAM)
        await bridge.publish(name, b"first")
        readers = [asyncio.create_task(bodies(bridge, name, 3, offset="first")) for _ in range(3)]
        for body in (b"second", b"third"):
            await bridge.publish(name, body)
        assert await asyncio.gather(*readers) == [[b"first", b"second", b"third"]] * 3


@pytest.mark.gen_test
@pytest.mark.parametrize("offset", [-1, 10**18, "newest", True, timedelta(seconds=-1)])
async def test_an_offset_that_is_none_never_reaches_the_broker(make: Make, name: str, offset: Any) -> None:
    async with make() as bridge:
        await bridge.declare(name, STREAM)
        await bridge.publish(name, b"{}")
        with pytest.raises(ValueError, match="offset"):
            await read(bridge, name, 1, offset=offset)
        assert await bodies(bridge, name, 1, offset="first") == [b"{}"]


@pytest.mark.gen_test
async def test_a_stream_that_is_not_there_is_unroutable(make: Make, name: str) -> None:
    async with make() as bridge:
        with pytest.raises(Unroutable):
            await read(bridge, name, 1)


@pytest.mark.gen_test
async def test_a_bridge_that_stops_ends_its_consumers(make: Make, name: str) -> None:
    async with make() as bridge:
        await bridge.declare(name, bounded(10))
        await bridge.declare(f"{name}.stream", STREAM)
        reading = asyncio.create_task(read(bridge, f"{name}.stream", 1))
        async with bridge.consume(name) as consumer:
            await asyncio.sleep(0.1)
            await bridge.stop(drain=0)
            with pytest.raises(Stopped):
                await consumer.next()
        with pytest.raises(Stopped):
            await reading
        with pytest.raises(Stopped):
            async with bridge.consume(name):
                pass
        assert isinstance(await failure(bridge.publish(name, b"{}")), Stopped)


@pytest.mark.gen_test
async def test_a_message_to_an_exchange_that_is_not_there_costs_no_task_and_no_other_message(
    services: Services, name: str
) -> None:
    async with running(services.broker_url) as bridge:
        await bridge.declare(name, bounded(100))
        tasks = [bridge.send_task("test.never_run", queue=name) for _ in range(3)]
        others = [bridge.publish(name, b"%d" % number) for number in range(3)]
        lost = bridge.publish("news", b"{}", exchange=f"{name}.gone")
        tasks += [bridge.send_task("test.never_run", queue=name) for _ in range(3)]
        assert isinstance(await failure(lost), Unroutable)
        assert await asyncio.gather(*others, bridge.publish(name, b"3")) == [None] * 4
        await until(lambda: all(task.confirmed for task in tasks))
        assert (bridge.statistics().connects, [task for task in tasks if task.done()]) == (1, [])
        for task in tasks:
            task.cancel()


@pytest.mark.gen_test
async def test_a_message_for_which_there_is_no_room_goes_back_and_is_nobodys(
    services: Services, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nowait.bridge.shared._MAX_BYTES", 300 * 1024)
    async with running(services.broker_url) as bridge:
        await bridge.declare(name, bounded(100))
        sent = [b"%d" % number + b" " * 60_000 for number in range(20)]
        for body in sent:
            await bridge.publish(name, body)
        found: list[bytes] = []
        refused = 0
        while len(found) < len(sent):
            held = []
            with pytest.raises(Overloaded) if not refused else suppress(Overloaded):
                async with bridge.consume(name, prefetch=20) as consumer:
                    while len(found) < len(sent):
                        held.append(await asyncio.wait_for(consumer.next(), 10))
                        found.append(held[-1].body)
                        consumer.acknowledge(held[-1].tag)
            refused += 1
        assert sorted(found) == sorted(sent)


@pytest.mark.gen_test
async def test_a_stream_whose_message_finds_no_room_ends(
    services: Services, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nowait.bridge.shared._MAX_BYTES", 50 * 1024)
    async with running(services.broker_url) as bridge:
        await bridge.declare(name, STREAM)
        await bridge.publish(name, b" " * 60_000)
        await bridge.publish(name, b"{}")
        with pytest.raises(Overloaded):
            await read(bridge, name, 1, offset="first")
        assert await bodies(bridge, name, 1, offset=1) == [b"{}"]


@pytest.mark.gen_test
async def test_a_reader_that_waits_has_acknowledged_all_that_it_has_read() -> None:
    # A broker ends a channel on which something was not acknowledged for its consumer_timeout, half an hour.
    written: list[bytes] = []

    class Consumers:
        @asynccontextmanager
        async def consume(self, *_args: Any) -> AsyncIterator[Consumer]:
            yield consumer

    consumer = Consumer(2, written.append)
    headers = dumps("F", ({"x-stream-offset": 7},))
    delivery = Delivery(0, "", "", "", (b"{}",), 2, {"headers": bytes(headers)}, b"\x00\x3c\x00\x3c\x00" + bytes(11))
    async with aclosing(subscribe(Consumers(), "s", "next", 100)) as messages:  # type: ignore[arg-type]
        for tag in (1, 2, 3):
            consumer.received(delivery._replace(tag=tag))
        for _ in range(3):
            await anext(messages)
        assert written == []
        waiting = asyncio.create_task(anext(messages))
        await until(lambda: bool(written))
        assert written == [methods.ack(2, 3, multiple=True)]
        consumer.received(delivery._replace(tag=4))
        await waiting
        waiting = asyncio.create_task(anext(messages))
        await until(lambda: written[1:] == [methods.ack(2, 4, multiple=True)])
        consumer.fail(Stopped("over"))
        with pytest.raises(Stopped):
            await waiting
