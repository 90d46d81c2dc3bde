"""One consumer of a queue: what has come and is not taken yet, between a channel and its reader."""

import asyncio
from collections import deque
from collections.abc import Callable

from nowait.amqp import methods
from nowait.amqp.methods import Delivery
from nowait.errors import BridgeError, Overloaded


class Consumer:
    """A consumer on a channel of its own.

    Args:
        channel: the channel's number.
        write: sends frames, while the channel is there.

    Attributes:
        channel: as given.
    """

    def __init__(self, channel: int, write: Callable[[bytes], None]) -> None:
        self.channel = channel
        self._write = write
        self._waiting: deque[Delivery] = deque()
        self._started = False
        self._error: BridgeError | None = None
        self._waker: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<Consumer {self.channel}, {self.waiting} waiting>"

    @property
    def waiting(self) -> int:
        """Deliveries that have come and are not taken yet."""
        return len(self._waiting)

    # What the reader does.

    async def started(self) -> None:
        """Return once the broker delivers. Raises a BridgeError when it does not."""
        while not self._started and self._error is None:
            await self._changed()
        if self._error is not None:
            raise self._error

    async def next(self) -> Delivery:
        """The next delivery.

        Raises a BridgeError when none comes any more: what is unacknowledged goes back to its queue. Overloaded is of
        one alone, for whose body there was no room: it goes back when the consumer is closed.
        """
        while not self._waiting:
            if self._error is not None:
                raise self._error
            await self._changed()
        delivery = self._waiting.popleft()
        if delivery.parts is None:
            raise Overloaded(f"there was no room for a message of {delivery.size} bytes")
        return delivery

    def acknowledge(self, tag: int, multiple: bool = False) -> None:
        """Acknowledge a delivery, or all up to it. Nothing happens once the consumer has failed."""
        if self._error is None:
            self._write(methods.ack(self.channel, tag, multiple))

    def hand_back(self, tag: int) -> None:
        """Have it delivered again, to any consumer. Nothing happens once the consumer has failed."""
        if self._error is None:
            self._write(methods.reject(self.channel, tag, requeue=True))

    # What the broker does.

    def consuming(self) -> None:
        """It delivers from now on."""
        self._started = True
        self._wake()

    def received(self, delivery: Delivery) -> None:
        """A message has come."""
        self._waiting.append(delivery)
        self._wake()

    def fail(self, error: BridgeError) -> None:
        """Nothing more comes; what has come goes back to its queue."""
        self._error = self._error or error
        self._waiting.clear()
        self._wake()

    async def _changed(self) -> None:
        self._waker = asyncio.get_running_loop().create_future()
        await self._waker

    def _wake(self) -> None:
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)
