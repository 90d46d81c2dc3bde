"""Lists that are answered in pages."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode

from tornado.web import HTTPError, RequestHandler

LIMIT = 20
MAX_LIMIT = 100

T = TypeVar("T")


@dataclass(frozen=True)
class Page:
    """What a client asks for.

    Attributes:
        filters: the query's parameters.
        limit: items, at most.
        behind: the key of the last item of the page before; None for the first page.
    """

    filters: Mapping[str, str]
    limit: int
    behind: str | None

    @classmethod
    def of_request(cls, handler: RequestHandler, filters: Sequence[str], key: str) -> "Page":
        """Of the query of a request. Raises HTTPError 400.

        Args:
            handler: of the request.
            filters: the parameters that there are besides `limit` and `cursor`.
            key: a pattern of the keys of items.
        """
        known, given = (*filters, "limit", "cursor"), {}
        for name in handler.request.query_arguments:
            values = handler.get_query_arguments(name, strip=False)
            if name not in known:
                raise HTTPError(400, "%s: there is no such parameter; there is %s.", name[:100], ", ".join(known))
            if len(values) != 1:
                raise HTTPError(400, "%s: one value is expected.", name)
            given[name] = values[0]
        behind = None if "cursor" not in given else _key(given["cursor"], key)
        return cls(given, _limit(given.get("limit")), behind)

    def cut(
        self, handler: RequestHandler, found: Sequence[T], key: Callable[[T], str]
    ) -> tuple[Sequence[T], str | None]:
        """The items of the page, and the cursor of the next one, which stands in the header `Link`; None for none.

        Args:
            handler: answers.
            found: one item more than `limit`, where there is another page.
            key: of an item.
        """
        listed = found[: self.limit]
        if len(found) <= self.limit:
            return listed, None
        cursor = base64.urlsafe_b64encode(key(listed[-1]).encode()).decode().rstrip("=")
        query = urlencode({**self.filters, "cursor": cursor})
        handler.set_header("Link", f'<{handler.request.path}?{query}>; rel="next"')
        return listed, cursor


def _limit(text: str | None) -> int:
    if text is None:
        return LIMIT
    if not re.fullmatch("[1-9][0-9]{0,2}", text) or int(text) > MAX_LIMIT:
        raise HTTPError(400, f"limit: an integer from 1 to {MAX_LIMIT} is expected.")
    return int(text)


def _key(cursor: str, pattern: str) -> str:
    """The key that a cursor was made of. Raises HTTPError 400."""
    try:
        key = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars="-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        key = ""
    if not re.fullmatch(pattern, key):
        raise HTTPError(400, "cursor: one that was in `next` is expected.")
    return key
