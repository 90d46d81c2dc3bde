"""Depths of queues, read from a real broker."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from kombu import Connection, Consumer, Queue

from nowait.link.depths import Depth, Depths
from tests.bridge.conftest import until


@asynccontextmanager
async def reading(url: str, names: Iterable[str]) -> AsyncIterator[Depths]:
    """Depths that are read, fast, while the block runs."""
    depths = Depths(url, lambda: names, interval=0.01)
    run = asyncio.create_task(depths.run())
    try:
        yield depths
    finally:
        run.cancel()
        await asyncio.wait([run])
        await depths.close()


@pytest.mark.gen_test
async def test_they_are_what_waits_and_who_takes_it(vhost: str) -> None:
    with Connection(vhost) as connection:
        queue = Queue("some", channel=connection.channel())
        queue.declare()
        producer = connection.Producer()
        for _ in range(3):
            producer.publish("it", routing_key="some")
        async with reading(vhost, ["some"]) as depths:
            await until(lambda: depths.latest == {"some": Depth(3, 0)})
            channel = connection.channel()
            channel.basic_qos(0, 1, False)
            with Consumer(channel, [queue], on_message=lambda message: None):
                # One of them is with the consumer.
                await until(lambda: depths.latest == {"some": Depth(2, 1)})
            channel.close()
            await until(lambda: depths.latest == {"some": Depth(3, 0)})


@pytest.mark.gen_test
async def test_a_queue_that_is_not_there_hides_no_other(vhost: str) -> None:
    with Connection(vhost) as connection:
        Queue("there", channel=connection.channel()).declare()
        async with reading(vhost, ["a", "there", "z"]) as depths:
            await until(lambda: depths.latest == {"a": None, "there": Depth(0, 0), "z": None})
            Queue("z", channel=connection.channel()).declare()
            await until(lambda: depths.latest == {"a": None, "there": Depth(0, 0), "z": Depth(0, 0)})


@pytest.mark.gen_test
async def test_of_several_brokers_the_next_is_tried(vhost: str) -> None:
    with Connection(vhost) as connection:
        Queue("there", channel=connection.channel()).declare()
    async with reading(f"amqp://127.0.0.1:1//;{vhost}", ["there"]) as depths:
        await until(lambda: depths.latest == {"there": Depth(0, 0)})


@pytest.mark.gen_test
async def test_they_are_unknown_once_nobody_reads_and_known_again_afterwards(vhost: str) -> None:
    depths = Depths(vhost, lambda: ["gone"], interval=0.01)
    for _ in range(2):
        run = asyncio.create_task(depths.run())
        await until(lambda: depths.latest == {"gone": None})
        run.cancel()
        await asyncio.wait([run])
        assert depths.latest is None
    await depths.close()
