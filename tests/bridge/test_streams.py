"""Answers in parts: the same tests over the bridge with real workers and over its fake."""

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from celery import Celery

from deploy.local.broker import Broker
from nowait.errors import (
    BridgeError,
    DeadlineExceeded,
    Disconnected,
    OutcomeUnknown,
    Overloaded,
    Refused,
    Stopped,
    TaskFailed,
    Unroutable,
)
from nowait.testing import FakeBridge
from tests.bridge.conftest import QUEUE, Make, running, until

LARGE = 256 * 1024


async def fake_stream(sizes: list[int], pause: float = 0.0, failure: str = "") -> AsyncGenerator[bytes, None]:
    for number, size in enumerate(sizes):
        yield bytes([number % 256]) * size
        await asyncio.sleep(pause)
    if failure:
        raise LookupError(failure)


async def fake_echo(value: Any) -> Any:
    return value


FAKES = {"test.stream": fake_stream, "test.echo": fake_echo}


def streams(bridge: Any) -> tuple[int, int]:
    """Streams that are read, and calls in flight."""
    if isinstance(bridge, FakeBridge):
        return bridge.streams, bridge.in_flight
    figures = bridge.statistics()
    return figures.streams, figures.in_flight


async def read(parts: AsyncGenerator[bytes, None]) -> bytes:
    return b"".join([part async for part in parts])


async def failure(parts: AsyncGenerator[bytes, None]) -> tuple[bytes, BridgeError]:
    """What came before the error, and the error."""
    came = b""
    with pytest.raises(BridgeError) as caught:
        async for part in parts:
            came += part
    return came, caught.value


def expected(sizes: list[int]) -> bytes:
    return b"".join(bytes([number % 256]) * size for number, size in enumerate(sizes))


@pytest.mark.gen_test
@pytest.mark.parametrize("sizes", [[], [1], [0, 5, 0], [10] * 50, [3 * LARGE + 1, 1], [LARGE] * 12])
async def test_a_stream_has_all_that_the_task_wrote_in_its_order(make: Make, sizes: list[int]) -> None:
    async with make() as bridge:
        assert await read(bridge.stream("test.stream", [sizes], queue=QUEUE)) == expected(sizes)
        assert streams(bridge) == (0, 0)


@pytest.mark.gen_test
async def test_the_first_part_comes_while_the_task_runs(make: Make) -> None:
    async with make() as bridge, aclosing(bridge.stream("test.stream", [[5, 5], 30.0], queue=QUEUE)) as parts:
        assert await anext(parts) == b"\0" * 5
        assert streams(bridge) == (1, 1)


@pytest.mark.gen_test
async def test_many_streams_are_read_at_once(make: Make) -> None:
    async with make() as bridge:
        sizes = [[number, LARGE, number * 1000] for number in range(30)]
        read_all = [read(bridge.stream("test.stream", [each], queue=QUEUE)) for each in sizes]
        assert await asyncio.gather(*read_all) == [expected(each) for each in sizes]


@pytest.mark.gen_test
async def test_nothing_is_sent_before_the_first_part_is_asked_for(make: Make) -> None:
    async with make() as bridge:
        parts = bridge.stream("test.stream", [[1]], queue=QUEUE)
        assert streams(bridge) == (0, 0)
        await parts.aclose()


@pytest.mark.gen_test
async def test_a_task_that_fails_in_the_middle_fails_its_stream(make: Make) -> None:
    async with make() as bridge:
        came, error = await failure(bridge.stream("test.stream", [[5, 5], 0.0, "the reason"], queue=QUEUE))
        assert isinstance(error, TaskFailed)
        assert (error.exception, "the reason" in error.message) == ("LookupError", True)
        assert expected([5, 5]).startswith(came)
        assert streams(bridge) == (0, 0)


@pytest.mark.gen_test
async def test_a_stream_ends_at_its_deadline(make: Make) -> None:
    async with make() as bridge:
        came, error = await failure(bridge.stream("test.stream", [[1, 1], 30.0], timeout=1.0, queue=QUEUE))
        assert (came, type(error)) == (b"\0", DeadlineExceeded)
        assert streams(bridge) == (0, 0)


@pytest.mark.gen_test
async def test_a_deadline_in_the_past_sends_nothing_to_be_streamed(make: Make) -> None:
    async with make() as bridge:
        _, error = await failure(bridge.stream("test.stream", [[1]], timeout=0, queue=QUEUE))
        assert isinstance(error, DeadlineExceeded)
        assert streams(bridge) == (0, 0)


@pytest.mark.gen_test
async def test_a_stream_to_a_queue_that_is_not_there_is_an_error_at_once(make: Make) -> None:
    async with make() as bridge:
        _, error = await failure(bridge.stream("test.stream", [[1]], queue="no-such-queue"))
        assert isinstance(error, Unroutable)
        assert streams(bridge) == (0, 0)


@pytest.mark.gen_test
async def test_a_stream_too_many_is_refused_until_another_one_has_ended(make: Make) -> None:
    async with make(max_streams=1) as bridge:
        async with aclosing(bridge.stream("test.stream", [[1, 1], 0.2], queue=QUEUE)) as parts:
            await anext(parts)
            _, error = await failure(bridge.stream("test.stream", [[1]], queue=QUEUE))
            assert isinstance(error, Overloaded)
            assert await read(parts) == b"\1"
        assert await read(bridge.stream("test.stream", [[1]], queue=QUEUE)) == b"\0"


@pytest.mark.gen_test
async def test_a_reader_that_is_cancelled_leaves(make: Make) -> None:
    async with make() as bridge:
        reader = asyncio.ensure_future(read(bridge.stream("test.stream", [[1, 1], 30.0], queue=QUEUE)))
        await until(lambda: streams(bridge) == (1, 1))
        reader.cancel()
        await asyncio.wait([reader])
        assert reader.cancelled()
        assert streams(bridge) == (0, 0)


@pytest.mark.gen_test
async def test_stopping_fails_the_streams(make: Make) -> None:
    async with make() as bridge:
        parts = bridge.stream("test.stream", [[1, 1], 30.0], queue=QUEUE)
        await anext(parts)
        await bridge.stop(drain=0)
        _, error = await failure(parts)
        assert isinstance(error, OutcomeUnknown)
        _, error = await failure(bridge.stream("test.stream", [[1]], queue=QUEUE))
        assert isinstance(error, Stopped)


@pytest.mark.gen_test
async def test_a_task_that_answers_at_once_is_no_stream(make: Make) -> None:
    async with make() as bridge:
        _, error = await failure(bridge.stream("test.echo", [1], queue=QUEUE))
        assert isinstance(error, TaskFailed)


@pytest.mark.gen_test
async def test_a_bridge_without_a_connection_streams_nothing() -> None:
    bridge = FakeBridge({"test.stream": fake_stream}, queues=[QUEUE])
    bridge.state = "connecting"
    _, error = await failure(bridge.stream("test.stream", [[1]], queue=QUEUE))
    assert isinstance(error, Disconnected)


def queues(broker: Broker, vhost: str) -> list[str]:
    """The queues of streams."""
    names = broker.control("--quiet", "list_queues", "-p", vhost, "name", "--no-table-headers").split()
    return [name for name in names if name.startswith("nowait.streams.")]


@pytest.mark.gen_test
async def test_a_broker_that_refuses_the_queue_of_a_stream_harms_nothing_else(
    private_broker: Broker, vhost: str
) -> None:
    name = vhost.rpartition("/")[2]
    private_broker.control("add_user", name, "secret")
    private_broker.control("set_permissions", "-p", name, name, r"^nowait\.replies\.", ".*", ".*")
    url = f"amqp://{name}:secret@127.0.0.1:{private_broker.port}/{name}"
    async with running(url) as bridge:
        for _ in range(2):
            _, error = await failure(bridge.stream("test.stream", [[1]], queue=QUEUE))
            assert isinstance(error, Refused)
        call = bridge.send_task("test.echo", [1], queue="no-such-queue")
        with pytest.raises(Unroutable):
            await call
        assert (bridge.state, bridge.statistics().connects) == ("connected", 1)
        # Once it is allowed, nothing has to be started anew.
        private_broker.control("set_permissions", "-p", name, name, ".*", ".*", ".*")
        while isinstance(error, Refused):
            _, error = await failure(bridge.stream("test.stream", [[1]], queue="no-such-queue"))
        assert isinstance(error, Unroutable)
        assert bridge.statistics().connects == 1
        await until(lambda: not queues(private_broker, name))
    private_broker.control("delete_user", name)


@pytest.mark.gen_test
async def test_a_connection_that_is_lost_fails_the_streams_at_once(private_broker: Broker, vhost: str) -> None:
    name = vhost.rpartition("/")[2]
    async with running(vhost) as bridge:
        channel = Celery("tests", broker=vhost, set_as_current=False).connection_for_read()
        channel.default_channel.queue_declare("waiting", auto_delete=False)
        reader = asyncio.ensure_future(failure(bridge.stream("test.stream", [[1]], queue="waiting")))
        await until(lambda: streams(bridge) == (1, 1))
        private_broker.control("close_all_connections", "-p", name, "for a test")
        _, error = await asyncio.wait_for(reader, 10)
        assert isinstance(error, OutcomeUnknown)
        assert streams(bridge)[0] == 0
        channel.collect()
        await until(lambda: bridge.state == "connected")
        await until(lambda: not queues(private_broker, name))


@pytest.mark.gen_test
@pytest.mark.parametrize("end", ["failed", "deadline", "stopped", "left"])
async def test_a_stream_that_broke_off_holds_no_bytes(broker_url: str, end: str) -> None:
    gc.collect()
    gc.disable()
    try:
        async with running(broker_url) as bridge:
            pause, reason = (0.5, "the reason") if end == "failed" else (30.0, "")
            timeout = 3.0 if end == "deadline" else 60.0
            parts = bridge.stream("test.stream", [[LARGE] * 3, pause, reason], timeout=timeout, queue=QUEUE)
            await anext(parts)
            assert bridge.statistics().reply_bytes >= LARGE
            if end == "left":
                await parts.aclose()
            else:
                if end == "stopped":
                    await bridge.stop(drain=0)
                # The error is held, and what leads from it.
                _, error = await failure(parts)
                assert isinstance(error, BridgeError)
            assert bridge.statistics().reply_bytes == 0
    finally:
        gc.enable()


@pytest.mark.gen_test
async def test_a_bridge_that_stops_has_its_streams_read_to_their_ends(broker_url: str) -> None:
    sizes = [LARGE] * 12
    async with running(broker_url) as bridge:
        parts = bridge.stream("test.stream", [sizes], queue=QUEUE)
        came = await anext(parts)
        for _ in range(3):
            came += await anext(parts)
        # Its call ends while the last parts still wait in the queue.
        stopping = asyncio.ensure_future(bridge.stop(drain=60.0))
        while len(came) < sum(sizes):
            await asyncio.sleep(0.05)
            came += await anext(parts)
        assert came == expected(sizes)
        assert not stopping.done()
        assert await read(parts) == b""
        await stopping


@pytest.mark.gen_test
async def test_a_bridge_that_stops_does_not_wait_for_what_nobody_waits_for(broker_url: str) -> None:
    async with running(broker_url) as bridge:
        parts = bridge.stream("test.stream", [[1, 1], 30.0], queue=QUEUE)
        await anext(parts)
        call = bridge.send_task("test.sleep", [30.0], queue=QUEUE)
        stopping = asyncio.ensure_future(bridge.stop(drain=3600.0))
        await asyncio.sleep(0)
        await parts.aclose()
        call.cancel()
        await stopping
