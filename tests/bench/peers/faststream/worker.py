"""A FastStream worker with the subscriber that returns its argument: `faststream run worker:app`."""

import os

from faststream import FastStream
from faststream.rabbit import Channel, RabbitBroker

broker = RabbitBroker(os.environ["NOWAIT_BROKER_URL"], default_channel=Channel(prefetch_count=100), log_level=50)
app = FastStream(broker)


@broker.subscriber(os.environ["QUEUE"])
async def echo(number: int) -> int:
    """What it was given."""
    return number
