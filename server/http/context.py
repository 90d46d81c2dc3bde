"""What every handler is built with."""

import asyncio
from dataclasses import dataclass
from typing import Any, Protocol

from server.catalogue import QueryCatalogue
from server.http.in_flight import InFlightRequests


class Tasks(Protocol):
    """What handlers know of the bridge."""

    @property
    def state(self) -> str:
        """ "connected" when calls are taken."""

    def send_task(
        self,
        name: str,
        args: list[Any] | None = None,
        *,
        timeout: float | None,
        idempotent: bool,
        encoded: bool = False,
        queue: str,
    ) -> "asyncio.Future[Any]":
        """Send a task; the future fails with a BridgeError. With `encoded` its result is an Encoded."""


@dataclass(frozen=True)
class Context:
    """The one argument of every handler.

    Attributes:
        tasks: the bridge.
        catalogue: the named queries.
        in_flight: the requests of this server.
        timeout: seconds that a request may take.
        demo: True when the comparison routes and `delay` are on.
    """

    tasks: Tasks
    catalogue: QueryCatalogue
    in_flight: InFlightRequests
    timeout: float
    demo: bool
