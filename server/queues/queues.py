"""The queues of one server process: what is put into them, and who consumes them."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from nowait.bridge import Consumer
from nowait.bridge.call import new_id
from nowait.errors import Overloaded, QueueFull
from nowait.topology import Topology
from server.bridge import Messages
from server.missing import declaring
from server.queues.line import Line

_FIRST_PAUSE, _LAST_PAUSE = 0.05, 0.25  # seconds between tries to put a message into a queue that is full
_LAST_TRY = 0.25  # seconds that are left for the last one: its answer is known, then
_MAX_WAITING = 500  # producers that wait for room, each with its message of up to 64 KiB


class TooManyConsumers(Exception):
    """As many consume as may."""


class Queues:
    """The queues, by their names.

    Args:
        messages: the bridge.
        topology: where messages are published to.
        bounds: how many may wait in each queue. Where the broker has the queues already, its own bounds hold.
        limit: of consumers at once.
        observe: gets what has become of each message, as `server.observer.Observer.put`.

    Attributes:
        closed: the server stops: nobody is to consume any more.
    """

    def __init__(
        self,
        messages: Messages,
        topology: Topology,
        bounds: Mapping[str, int],
        limit: int,
        observe: Callable[[str, BaseException | None], None] = lambda _queue, _error: None,
    ) -> None:
        self._messages = messages
        self._topology = topology
        self._bounds = bounds
        self._limit = limit
        self._observe = observe
        self._lines = {name: Line() for name in bounds}
        self._ends: set[Callable[[], None]] = set()  # of the consumers
        self.closed = False

    def __len__(self) -> int:
        """Consumers."""
        return len(self._ends)

    def __contains__(self, name: str) -> bool:
        return name in self._bounds

    @property
    def names(self) -> frozenset[str]:
        """Of the queues."""
        return frozenset(self._bounds)

    def __repr__(self) -> str:
        return f"<Queues {', '.join(sorted(self._bounds))}, {len(self)} consumers>"

    async def put(self, name: str, body: bytes, timeout: float, wait: float) -> str:
        """Put a message into a queue; returns its id once the broker has it.

        Args:
            name: of the queue.
            body: the message.
            timeout: seconds that it may take.
            wait: seconds of them in which a queue that is full is tried again, by those who wait in the order in which
                they have come.

        Raises QueueFull, and any other BridgeError; OutcomeUnknown and DeadlineExceeded when it may have been put.
        """
        try:
            message_id = await self._put(name, body, timeout, wait)
        except BaseException as error:
            self._observe(name, error)
            raise
        self._observe(name, None)
        return message_id

    async def _put(self, name: str, body: bytes, timeout: float, wait: float) -> str:
        loop = asyncio.get_running_loop()
        deadline, until = loop.time() + timeout, loop.time() + min(wait, timeout - _LAST_TRY)
        message_id, line = new_id(), self._lines[name]

        async def publish() -> None:
            left = deadline - loop.time()
            exchange = self._topology.messages
            await self._messages.publish(
                name, body, exchange=exchange, message_id=message_id, timeout=left, bounded=True
            )

        async def put() -> None:
            await declaring(self._messages, name, self._arguments(name), publish)

        if not line:
            try:
                await put()
                return message_id
            except QueueFull:
                if until <= loop.time():
                    raise
        if until <= loop.time() or sum(map(len, self._lines.values())) >= _MAX_WAITING:
            raise QueueFull(f"{len(line)} wait for room already")
        async with line.place(until) as first:
            if not first:
                raise QueueFull("there was no room for those who wait before")
            await _repeat(put, until)
        return message_id

    @asynccontextmanager
    async def consume(self, name: str, prefetch: int, end: Callable[[], None]) -> AsyncIterator[Consumer]:
        """Consume a queue for as long as the block lasts; what is not acknowledged goes back to it.

        Args:
            name: of the queue.
            prefetch: messages that may be unacknowledged.
            end: is called when the server stops.

        Raises TooManyConsumers, and BridgeError.
        """
        if len(self._ends) >= self._limit or self.closed:
            raise TooManyConsumers(f"{self._limit} consumers")
        self._ends.add(end)
        try:
            async with AsyncExitStack() as stack:
                yield await declaring(
                    self._messages,
                    name,
                    self._arguments(name),
                    lambda: stack.enter_async_context(self._messages.consume(name, prefetch=prefetch)),
                )
        finally:
            self._ends.discard(end)

    def close(self) -> None:
        """End all consumers."""
        self.closed = True
        for end in list(self._ends):
            end()

    def _arguments(self, name: str) -> Mapping[str, object] | None:
        return self._topology.bounded_arguments(self._bounds[name]) if self._topology.declares else None


async def _repeat(put: Callable[[], Awaitable[None]], until: float) -> None:
    """Put a message into a queue that is full, at some time until then. Raises the last failure."""
    loop, pause = asyncio.get_running_loop(), _FIRST_PAUSE
    while True:
        try:
            return await put()
        except (QueueFull, Overloaded):
            # What was refused is not there: trying again puts nothing twice.
            left = until - loop.time()
            if left <= 0:
                raise
        await asyncio.sleep(min(left, pause * random.uniform(0.5, 1.0)))
        pause = min(2 * pause, _LAST_PAUSE)
