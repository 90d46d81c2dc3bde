"""What the server answers, as an OpenAPI document, and a page to read it and try it."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from server import assets
from server.catalogue import Catalogue
from server.http.context import Context
from server.http.files import FileHandler
from server.http.handler import BaseHandler, write_json
from server.openapi.document import document
from server.openapi.operation import Operation, json, path
from server.openapi.shared import file_operation

Operations = Callable[[Context], list[Operation]]

_SERVER = Path(__file__).resolve().parents[1]
# Of the live page's files, what this one needs as well.
_SHARED = ("dom.js", "curl.js", "format.js", "style.css", "icon.svg")
_LIST_TIMEOUT = 2.0  # seconds that the workers' first lists are waited for


class DocumentHandler(BaseHandler):
    """GET /openapi.json"""

    def initialize(self, context: Context, operations: Sequence[Operations] = ()) -> None:
        super().initialize(context)
        self._operations = operations

    async def get(self) -> None:
        await self.wait_for(asyncio.gather(self._listed(self.context.catalogue), self._listed(self.context.kinds)))
        operations = [each for operations in self._operations for each in operations(self.context)]
        write_json(self, document(operations, self.context.demo))

    async def _listed(self, catalogue: Catalogue[Any]) -> None:
        """Have a list, if there is one to be had; without it, the document has what holds for any."""
        try:
            await catalogue.all(min(_LIST_TIMEOUT, self.deadline.remaining()))
        except Exception:  # the catalogue has logged it
            return


class DocsHandler(FileHandler):
    """GET /docs"""

    open_to_all_sites = True

    def get(self, name: str = "docs.html") -> None:
        super().get(name)


class DocsFileHandler(FileHandler):
    """GET /docs/{name}"""


def routes(context: Context, operations: Sequence[Operations]) -> list[Any]:
    """The routes of this module.

    Args:
        context: of the handlers.
        operations: what those of all modules answer.
    """
    page = assets.read(_SERVER / "page")
    files = {**assets.read(_SERVER / "docs"), **{name: page[name] for name in _SHARED}}
    options = {"context": context, "files": files}
    return [
        (r"/openapi\.json", DocumentHandler, {"context": context, "operations": operations}),
        (r"/docs", DocsHandler, options),
        (r"/docs/([a-z]+\.[a-z]+)", DocsFileHandler, options),
    ]


def operations(_: Context) -> list[Operation]:
    """What they answer."""
    name = path("name", {"type": "string", "pattern": r"^[a-z]+\.[a-z]+$"})
    return [
        Operation(
            id="openapi",
            method="GET",
            path="/openapi.json",
            group="pages",
            summary="this document",
            answers=[json("an OpenAPI document", {"type": "object", "required": ["openapi", "info", "paths"]})],
        ),
        file_operation("docs", "/docs", "a page of this document", "text/html"),
        file_operation("docs_file", "/docs/{name}", "what it is made of", "*/*", name),
    ]
