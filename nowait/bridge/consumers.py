"""Consumers of queues that others fill, on a connection of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nowait.amqp import methods
from nowait.bridge.channels import error_of
from nowait.bridge.consumer import Consumer
from nowait.bridge.shared import SharedConnection, Source
from nowait.errors import Stopped, Unroutable


class Consumers:
    """The consumers of one connection.

    Args:
        source: opens the connection.
        name: what they are, in the log.
    """

    def __init__(self, source: Source, name: str) -> None:
        self._connection: SharedConnection[Consumer] = SharedConnection(source, name, self._received, Consumer.fail)

    def __len__(self) -> int:
        return len(self._connection)

    def __repr__(self) -> str:
        return f"<Consumers {self._connection}>"

    @asynccontextmanager
    async def consume(
        self, queue: str, prefetch: int, arguments: bytes = methods.NO_TABLE
    ) -> AsyncIterator[Consumer]:
        """Consume a queue for as long as the block lasts; what is not acknowledged by then goes back to it.

        Args:
            queue: its name.
            prefetch: deliveries that may be unacknowledged, 1 to 65535.
            arguments: of the consumer, an encoded table.

        Raises Stopped, Disconnected, Overloaded; Unroutable when there is no such queue, Refused when it may not be
        consumed.
        """
        if not 1 <= prefetch <= 65535:
            raise ValueError(f"prefetch: expected 1 to 65535, not {prefetch}")
        connection = await self._connection.connected()
        consumer = self._connection.open(connection, lambda channel: Consumer(channel, connection.write))
        try:
            prepared = methods.qos(consumer.channel, prefetch, False)
            connection.write(prepared + methods.consume(consumer.channel, queue, arguments=arguments))
            await consumer.started()
            yield consumer
        finally:
            self._connection.close(consumer.channel, consumer)
            consumer.fail(Stopped("the consumer was closed"))

    async def stop(self, timeout: float) -> None:
        """End all consumers; `timeout` is seconds for the broker to close."""
        await self._connection.stop(timeout)

    def _received(self, consumer: Consumer, event: methods.ChannelEvent) -> None:
        if isinstance(event, methods.Delivery):
            consumer.received(event)
        elif isinstance(event, methods.Consuming):
            consumer.consuming()
        elif isinstance(event, methods.Closed):
            consumer.fail(error_of(event.code, event.reason))
        elif isinstance(event, methods.Cancelled):
            self._connection.close(consumer.channel, consumer)
            consumer.fail(Unroutable("the queue was deleted"))
