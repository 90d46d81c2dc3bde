"""What the server knows of the bridge."""

from collections.abc import AsyncGenerator
from typing import Any, Protocol

from nowait.bridge import Call


class Tasks(Protocol):
    """Sends tasks to the workers, and awaits them."""

    @property
    def state(self) -> str:
        """ "connected" when calls are taken; else "stopped", "connecting" or "blocked"."""

    @property
    def in_flight(self) -> int:
        """Calls without an answer."""

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
        queue: str,
    ) -> Call:
        """Send a task, as `Bridge.send_task`."""

    def stream(
        self, name: str, args: list[Any] | None = None, *, timeout: float | None, queue: str
    ) -> AsyncGenerator[bytes, None]:
        """Send a task that answers in parts, and read them; raises a BridgeError."""
