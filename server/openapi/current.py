"""The document as it is now, made once for each offer."""

import asyncio
import json
from collections.abc import Callable

from server.assets import Asset, asset
from server.openapi.document import document
from server.openapi.offer import Offer
from server.openapi.operation import JSON, Operation


class CurrentDocument:
    """The document, and what it was made of.

    Args:
        operations: all that a server with such an offer has.
    """

    def __init__(self, operations: Callable[[Offer], list[Operation]]) -> None:
        self._operations = operations
        self._making = asyncio.Lock()
        self._made_of: Offer | None = None
        self._made: Asset | None = None

    async def get(self, offer: Offer) -> Asset:
        """The document; with another offer than the last one, it is made anew."""
        async with self._making:
            if self._made is None or self._made_of != offer:
                # In a thread: with some hundreds of queries it takes a tenth of a second.
                self._made = await asyncio.to_thread(self._make, offer)
                self._made_of = offer
            return self._made

    def _make(self, offer: Offer) -> Asset:
        made = document(self._operations(offer), offer)
        return asset(JSON, json.dumps(made, separators=(",", ":")).encode())
