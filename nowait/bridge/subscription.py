"""Reads a RabbitMQ stream: its messages, in order, from where the reader wants to begin."""

from collections.abc import AsyncGenerator

from nowait.bridge.consumers import Consumers
from nowait.messages.stream import Offset, StreamMessage, offset_argument, read_stream_message


async def subscribe(
    consumers: Consumers, stream: str, offset: Offset, prefetch: int
) -> AsyncGenerator[StreamMessage, None]:
    """The messages of a stream, see Bridge.subscribe()."""
    # A stream's acknowledgements are credit alone: half of what may be under way is given back at once.
    batch = max(1, prefetch // 2)
    taken = 0
    async with consumers.consume(stream, prefetch, offset_argument(offset)) as consumer:
        while True:
            delivery = await consumer.next()
            message, tag = read_stream_message(delivery), delivery.tag
            del delivery  # its share of the room
            yield message
            taken += 1
            # And all of it before there is nothing to read: a broker ends a channel on which something was not
            # acknowledged for long, its `consumer_timeout`.
            if taken % batch == 0 or not consumer.waiting:
                consumer.acknowledge(tag, multiple=True)
