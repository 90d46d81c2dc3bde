"""What the server knows of the bridge."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from nowait.bridge import Call, Consumer
from nowait.budget import Share
from nowait.messages.stream import Offset, StreamMessage


class Tasks(Protocol):
    """Sends tasks to the workers, and awaits them."""

    @property
    def state(self) -> str:
        """ "connected" when calls are taken; else "stopped", "connecting" or "blocked"."""

    @property
    def in_flight(self) -> int:
        """Calls without an answer, and other messages that are not confirmed."""

    def hold(self, size: int) -> Share:
        """Count bytes as those of replies until the share is released; raises Overloaded."""

    def send_task(
        self,
        name: str,
        args: list[Any] | None = None,
        *,
        timeout: float | None,
        lifetime: float | None = None,
        idempotent: bool = False,
        encoded: bool = False,
        ignore_result: bool = False,
        client: str = "",
        queue: str,
        headers: Mapping[str, str] | None = None,
    ) -> Call:
        """Send a task, as `Bridge.send_task`."""

    def stream(
        self, name: str, args: list[Any] | None = None, *, timeout: float | None, client: str = "", queue: str
    ) -> AsyncGenerator[bytes, None]:
        """Send a task that answers in parts, and read them; raises a BridgeError."""


class Messages(Protocol):
    """Publishes and receives messages that are no tasks, as `Bridge` does."""

    def publish(
        self,
        routing_key: str,
        body: bytes,
        *,
        exchange: str = "",
        kind: str | None = None,
        message_id: str | None = None,
        timeout: float | None = None,
        bounded: bool = False,
    ) -> Call:
        """Publish a message; done once the broker has it."""

    def subscribe(
        self, stream: str, *, offset: Offset = "next", prefetch: int = 256
    ) -> AsyncGenerator[StreamMessage, None]:
        """Read a stream."""

    def consume(self, queue: str, *, prefetch: int = 1) -> AbstractAsyncContextManager[Consumer]:
        """Consume a queue."""

    async def declare(self, queue: str, arguments: Mapping[str, Any]) -> None:
        """Declare a durable queue."""


class Broker(Tasks, Messages, Protocol):
    """All that the server does with the broker."""
