"""What the server answers, as an OpenAPI document, and a page to read it and try it."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from server import assets
from server.catalogue import Catalogue
from server.http.access import OPEN
from server.http.context import Context
from server.http.files import AssetHandler, FileHandler
from server.openapi.current import CurrentDocuments
from server.openapi.offer import Offer
from server.openapi.operation import JSON, Operation, path
from server.openapi.shared import file_operation

Operations = Callable[[Offer], list[Operation]]

_SERVER = Path(__file__).resolve().parents[1]
# Of the live page's files, what this one needs as well.
_SHARED = ("dom.js", "curl.js", "format.js", "style.css", "icon.svg")
_LIST_TIMEOUT = 2.0  # seconds that the workers' first lists are waited for


class DocumentHandler(AssetHandler):
    """GET /openapi.json

    Where requests need a key, this one does not, and so the document leaves out what has a name.
    """

    access = OPEN

    def initialize(self, context: Context, current: CurrentDocuments | None = None) -> None:
        super().initialize(context)
        assert current is not None
        self._current = current

    async def get(self) -> None:
        self.finish_asset(await self.wait_for(self._current.get(await self._offer())))

    async def _offer(self) -> Offer:
        context = self.context
        webhooks = context.check_webhook is not None
        if context.gate.needs_keys:
            return Offer(webhooks=webhooks, demo=context.demo, keys=True)
        listed = asyncio.gather(self._listed(context.catalogue), self._listed(context.kinds))
        queries, kinds = await self.wait_for(listed)
        return Offer(queries, kinds, context.topic_names, context.queues.names, webhooks, context.demo)

    async def _listed(self, catalogue: Catalogue[Any]) -> list[Any]:
        """A list, if there is one to be had; without it, the document has what holds for any."""
        try:
            return await catalogue.all(min(_LIST_TIMEOUT, self.deadline.remaining()))
        except Exception:  # the catalogue has logged it
            return []


class DocsHandler(FileHandler):
    """GET /docs"""

    access = OPEN
    open_to_all_sites = True

    def get(self, name: str = "docs.html") -> None:
        super().get(name)


class DocsFileHandler(FileHandler):
    """GET /docs/{name}"""

    access = OPEN


def routes(context: Context, operations: Sequence[Operations]) -> list[Any]:
    """The routes of this module.

    Args:
        context: of the handlers.
        operations: what those of all modules answer.
    """
    page = assets.read(_SERVER / "page")
    files = {**assets.read(_SERVER / "docs"), **{name: page[name] for name in _SHARED}}
    options = {"context": context, "files": files}
    current = CurrentDocuments(lambda offer: [each for module in operations for each in module(offer)])
    return [
        (r"/openapi\.json", DocumentHandler, {"context": context, "current": current}),
        (r"/docs", DocsHandler, options),
        (r"/docs/([a-z]+\.[a-z]+)", DocsFileHandler, options),
    ]


def operations(_: Offer) -> list[Operation]:
    """What they answer."""
    name = path("name", {"type": "string", "pattern": r"^[a-z]+\.[a-z]+$"})
    return [
        file_operation("openapi", "/openapi.json", "this document", JSON),
        file_operation("docs", "/docs", "a page of this document", "text/html"),
        file_operation("docs_file", "/docs/{name}", "what it is made of", "*/*", name),
    ]
