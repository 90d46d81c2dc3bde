"""The document as it is now, made once for each list of the workers."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from server.assets import Asset, asset
from server.openapi.document import document
from server.openapi.operation import JSON, Operation


class CurrentDocument:
    """The document, and what it was made of.

    Args:
        operations: all of them, as they are now.
        demo: as that of document().
    """

    def __init__(self, operations: Callable[[], list[Operation]], demo: bool) -> None:
        self._operations = operations
        self._demo = demo
        self._making = asyncio.Lock()
        self._made_of: Sequence[Any] | None = None
        self._made: Asset | None = None

    async def get(self, listed: Sequence[Any]) -> Asset:
        """The document.

        Args:
            listed: what the workers list; with another list, it is made anew.
        """
        async with self._making:
            if self._made is None or self._made_of != listed:
                # In a thread: with some hundreds of queries it takes a tenth of a second.
                self._made = await asyncio.to_thread(self._make, self._operations())
                self._made_of = listed
            return self._made

    def _make(self, operations: list[Operation]) -> Asset:
        made = document(operations, self._demo)
        return asset(JSON, json.dumps(made, separators=(",", ":")).encode())
