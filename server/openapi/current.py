"""The documents as they are now, made once for each offer."""

import asyncio
import json
from collections.abc import Callable

from server.assets import Asset, asset
from server.openapi.document import document
from server.openapi.offer import Offer
from server.openapi.operation import JSON, Operation

_MOST = 8  # documents that are kept: clients may be offered different things


class CurrentDocuments:
    """The documents, and what they were made of.

    Args:
        operations: all that a server with such an offer has.
    """

    def __init__(self, operations: Callable[[Offer], list[Operation]]) -> None:
        self._operations = operations
        self._making = asyncio.Lock()
        self._made: list[tuple[Offer, Asset]] = []  # the one that was asked for last comes first

    async def get(self, offer: Offer) -> Asset:
        """The document of an offer; of one that is new, it is made."""
        async with self._making:
            made = next((each for each in self._made if each[0].is_same(offer)), None)
            if made is None:
                # In a thread: with some hundreds of queries it takes a tenth of a second.
                made = offer, await asyncio.to_thread(self._make, offer)
            self._made = [made, *(each for each in self._made if each is not made)][:_MOST]
            return made[1]

    def _make(self, offer: Offer) -> Asset:
        made = document(self._operations(offer), offer)
        return asset(JSON, json.dumps(made, separators=(",", ":")).encode())
