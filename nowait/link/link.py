"""Two connections to the broker, as one thing that is up or down.

One publishes and one consumes: an alarm at the broker stops the publishing one, heartbeats
included, and must not stop the replies.
"""

import asyncio
from collections.abc import Callable, Iterable

from nowait.amqp import methods
from nowait.budget import Budget
from nowait.link.connection import Connection
from nowait.link.opener import CHANNEL, ConnectionLost, Opened
from nowait.messages.outbound import OutboundMessage


class Link:
    """Both connections, open, on the running loop.

    Args:
        opened: their sockets.
        on_event: called with each Delivery, Confirmed and Returned, and with all events of further channels.
        budget: of the bodies of deliveries, see nowait.amqp.methods.Decoder.

    Attributes:
        lost: done, with the reason, when the link is down.
    """

    def __init__(self, opened: Opened, on_event: Callable[[methods.Event], None], budget: Budget) -> None:
        self._on_event = on_event
        self.lost: asyncio.Future[ConnectionLost] = asyncio.get_running_loop().create_future()
        self._consumer = Connection(opened.consumer, self._received, self._consumer_lost, budget)
        self._publisher = Connection(opened.publisher, on_event, self.lose, budget)

    @property
    def blocked(self) -> str | None:
        """Why the broker takes no messages at the moment; None when it does."""
        return self._publisher.blocked

    @property
    def unblocked_at(self) -> float | None:
        """Since when it takes them, by the loop's clock; None while it does not."""
        return None if self.blocked is not None else self._publisher.unblocked_at

    @property
    def consumes(self) -> bool:
        """The connection that consumes is up, whatever the other one is."""
        return self._consumer.open

    @property
    def last_received(self) -> float:
        """When each connection had last received anything: the earlier of the two, by the loop's clock."""
        return min(self._consumer.last_received, self._publisher.last_received)

    def frames(self, message: OutboundMessage, mandatory: bool = True) -> bytes:
        """The message as publish() takes it. Raises ValueError as `nowait.amqp.methods.publish`."""
        return methods.publish(CHANNEL, *message, self._publisher.frame_max, mandatory)

    def publish(self, frames: bytes) -> None:
        """Send a message; Confirmed or Returned follows. Never blocks."""
        self._publisher.write(frames)

    def write(self, frames: bytes) -> None:
        """Send frames of a further channel by the connection that consumes. Never blocks."""
        self._consumer.write(frames)

    def consume(self, queue: str, consumer_tag: str = "", arguments: bytes = methods.NO_TABLE) -> None:
        """Have the broker deliver what comes to a queue; see `nowait.amqp.methods.consume`."""
        self._consumer.write(methods.consume(CHANNEL, queue, consumer_tag, arguments))

    def cancel(self, consumer_tag: str) -> None:
        """Have it deliver no more to that consumer."""
        self._consumer.write(methods.cancel(CHANNEL, consumer_tag))

    def prefetch(self, count: int, all_consumers: bool) -> None:
        """Have it deliver so many at a time; see `nowait.amqp.methods.qos`."""
        self._consumer.write(methods.qos(CHANNEL, count, all_consumers))

    def acknowledge(self, tag: int, multiple: bool) -> None:
        """Acknowledge a delivery, or all up to it."""
        self._consumer.write(methods.ack(CHANNEL, tag, multiple))

    def settle(self, rejections: Iterable[tuple[int, bool]], acknowledgements: Iterable[tuple[int, bool]]) -> None:
        """Reject deliveries, given as tag and `requeue`, and acknowledge others, given as tag and `multiple`."""
        frames = [methods.reject(CHANNEL, tag, requeue) for tag, requeue in rejections]
        frames += [methods.ack(CHANNEL, tag, multiple) for tag, multiple in acknowledgements]
        if frames:
            self._consumer.write(b"".join(frames))

    def delete_queue(self, queue: str) -> None:
        """Delete a queue, whatever is in it."""
        self._consumer.write(methods.delete_queue(CHANNEL, queue))

    def lose(self, reason: ConnectionLost) -> None:
        """Give the link up; it is still to be closed."""
        if not self.lost.done():
            self.lost.set_result(reason)

    async def close(self, timeout: float) -> None:
        """Close both connections.

        Args:
            timeout: seconds to wait for the broker, by whose answer it has read all that was written; 0 closes at once.
        """
        await asyncio.gather(self._consumer.close(timeout), self._publisher.close(timeout))

    def _consumer_lost(self, reason: ConnectionLost) -> None:
        # Whatever the broker did not like there, it was no message.
        self.lose(ConnectionLost(str(reason)))

    def _received(self, event: methods.Event) -> None:
        if isinstance(event, methods.Cancelled) and event.channel == CHANNEL:
            self.lose(ConnectionLost("a queue was deleted"))
        else:
            self._on_event(event)
