"""The RabbitMQ stream that has the messages of all topics."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta

from nowait.bridge.call import new_id
from nowait.errors import Disconnected
from nowait.messages.stream import StreamMessage
from nowait.topology import Topology
from server.bridge import Messages
from server.missing import declaring

MARK = "nowait.end"  # the topic of marks; a topic's name has no dot
# Marks are looked for since then: a connection may take its time, and the clock of the broker may be another one.
_RECENT = timedelta(minutes=1)
MARK_TIMEOUT = 10.0  # seconds in which a mark is written, and in which it comes back


class TopicStream:
    """The stream, declared where it is missed and the topology has it so.

    RabbitMQ has no way to find out where a stream ends: a mark that is written to it, and read, shows it.

    Args:
        messages: the bridge.
        topology: where the stream is.
    """

    def __init__(self, messages: Messages, topology: Topology) -> None:
        self._messages = messages
        self._topology = topology

    async def publish(self, topic: str, body: bytes, timeout: float) -> str:
        """Append a message; returns its id once the broker has it. Raises BridgeError, which may be OutcomeUnknown.

        Args:
            topic: its topic.
            body: JSON, on one line.
            timeout: seconds that it may take.
        """
        message_id = new_id()
        await self._publish(topic, body, message_id, timeout)
        return message_id

    async def mark(self, message_id: str) -> None:
        """Append a mark with an id. Raises BridgeError."""
        await self._publish(MARK, b"{}", message_id, MARK_TIMEOUT)

    async def end(self) -> int:
        """The offset of a mark that was written just now. Raises BridgeError."""
        mark = new_id()
        await self.mark(mark)
        try:
            return await asyncio.wait_for(self._find(mark), MARK_TIMEOUT)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise Disconnected("the end of the topic log was not found in time") from error

    def read(self, offset: int | timedelta) -> AsyncGenerator[StreamMessage, None]:
        """The messages from an offset on, or from as long ago, as they come. Raises BridgeError."""
        return self._messages.subscribe(self._topology.topic_log, offset=offset)

    async def _find(self, mark: str) -> int:
        async with aclosing(self.read(_RECENT)) as messages:
            async for message in messages:
                if message.message_id == mark:
                    return message.offset
        raise AssertionError("a subscription has no end")

    async def _publish(self, topic: str, body: bytes, message_id: str, timeout: float) -> None:
        deadline = asyncio.get_running_loop().time() + timeout
        await self._declared(lambda: self._publish_by(topic, body, message_id, deadline))

    async def _publish_by(self, topic: str, body: bytes, message_id: str, deadline: float) -> None:
        left = deadline - asyncio.get_running_loop().time()
        exchange = self._topology.topics
        key = topic if exchange else self._topology.topic_log
        await self._messages.publish(
            key, body, exchange=exchange, kind=topic, message_id=message_id, timeout=left
        )

    async def _declared(self, act: Callable[[], Awaitable[None]]) -> None:
        topology = self._topology
        arguments = topology.topic_log_arguments if topology.declares else None
        await declaring(self._messages, topology.topic_log, arguments, act)
