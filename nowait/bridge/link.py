"""The bridge's two connections to the broker, as one thing that is up or down.

One publishes and one consumes: an alarm at the broker stops the publishing one, heartbeats
included, and must not stop the replies.
"""

import asyncio
from collections.abc import Callable

from nowait.amqp import methods
from nowait.bridge.connection import Connection
from nowait.bridge.opener import CHANNEL, ConnectionLost, Opened
from nowait.messages.task import TaskMessage


class Link:
    """Both connections, open, on the running loop.

    Args:
        opened: their sockets.
        on_event: called with each Delivery, Confirmed and Returned.

    Attributes:
        reply_queue: where the replies of this link go.
        lost: done, with the reason, when the link is down.
    """

    def __init__(self, opened: Opened, on_event: Callable[[methods.Event], None]) -> None:
        self._on_event = on_event
        self.reply_queue = opened.reply_queue
        self.lost: asyncio.Future[ConnectionLost] = asyncio.get_running_loop().create_future()
        self._consumer = Connection(opened.consumer, self._received, self.lose)
        self._publisher = Connection(opened.publisher, on_event, self.lose)
        self._consumer.write(methods.consume(CHANNEL, opened.reply_queue))

    @property
    def blocked(self) -> str | None:
        """Why the broker takes no messages at the moment; None when it does."""
        return self._publisher.blocked

    @property
    def unblocked_at(self) -> float | None:
        """Since when it takes them, by the loop's clock; None while it does not."""
        return None if self.blocked is not None else self._publisher.unblocked_at

    @property
    def last_received(self) -> float:
        """When each connection had last received anything: the earlier of the two, by the loop's clock."""
        return min(self._consumer.last_received, self._publisher.last_received)

    def frames(self, message: TaskMessage) -> bytes:
        """The message as publish() takes it. Raises ValueError as `nowait.amqp.methods.publish`."""
        return methods.publish(CHANNEL, *message, self._publisher.frame_max)

    def publish(self, frames: bytes) -> None:
        """Send a message; Confirmed or Returned follows. Never blocks."""
        self._publisher.write(frames)

    def acknowledge(self, tag: int, multiple: bool) -> None:
        """Acknowledge a delivery, or all up to it."""
        self._consumer.write(methods.ack(CHANNEL, tag, multiple))

    def lose(self, reason: ConnectionLost) -> None:
        """Give the link up; it is still to be closed."""
        if not self.lost.done():
            self.lost.set_result(reason)

    async def close(self, timeout: float) -> None:
        """Delete the reply queue and close both connections.

        Args:
            timeout: seconds to wait for the broker; 0 leaves the queue and closes at once.
        """
        if timeout > 0:
            self._consumer.write(methods.delete_queue(CHANNEL, self.reply_queue))
        await asyncio.gather(self._consumer.close(timeout), self._publisher.close(timeout))

    def _received(self, event: methods.Event) -> None:
        if isinstance(event, methods.Cancelled):
            self.lose(ConnectionLost("the reply queue was deleted"))
        else:
            self._on_event(event)
