"""A worker of aio-pika's RPC pattern: `worker.py`."""

import asyncio
import os

import aio_pika
from aio_pika.patterns import RPC


async def echo(*, number: int) -> int:
    """What it was given."""
    return number


async def main() -> None:
    connection = await aio_pika.connect_robust(os.environ["NOWAIT_BROKER_URL"])
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=100)
    rpc = await RPC.create(channel)
    await rpc.register(os.environ["QUEUE"], echo, auto_delete=True)
    await asyncio.Event().wait()


asyncio.run(main())
