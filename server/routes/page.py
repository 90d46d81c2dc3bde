"""The live page and what it is made of."""

from pathlib import Path
from typing import Any

from server import assets
from server.http.access import OPEN
from server.http.context import Context
from server.http.files import FileHandler
from server.openapi.offer import Offer
from server.openapi.operation import Operation, path
from server.openapi.shared import file_operation

FOLDER = Path(__file__).resolve().parents[1] / "page"


class PageFileHandler(FileHandler):
    """GET /page/{name}"""

    access = OPEN


class PageHandler(FileHandler):
    """GET /"""

    access = OPEN
    # It may be linked to; what it does, it does itself.
    open_to_all_sites = True

    def get(self, name: str = "index.html") -> None:
        super().get(name)


def routes(context: Context) -> list[Any]:
    """The routes of this module."""
    options = {"context": context, "files": assets.read(FOLDER)}
    return [(r"/", PageHandler, options), (r"/page/([a-z]+\.[a-z]+)", PageFileHandler, options)]


def operations(_: Offer) -> list[Operation]:
    """What they answer."""
    return [
        file_operation("page", "/", "the live page", "text/html"),
        file_operation(
            "page_file", "/page/{name}", "what the live page is made of", "*/*", path("name", {"type": "string"})
        ),
    ]
