"""The header `Cache-Control` of requests (RFC 9111, 5.2.1)."""

import re
from dataclasses import dataclass

# directive = token [ "=" ( token / quoted-string ) ], separated by commas.
_DIRECTIVE = re.compile(r'([A-Za-z-]{1,40})(?:\s{0,8}=\s{0,8}"?([0-9]{1,10})"?)?')


@dataclass(frozen=True)
class CacheControl:
    """What a client wants of an answer.

    Attributes:
        no_cache: it is to be made for this request.
        no_store: it is not to be kept.
        max_age: seconds that it may be old; None for any age.
    """

    no_cache: bool = False
    no_store: bool = False
    max_age: int | None = None

    @classmethod
    def of_header(cls, header: str) -> "CacheControl":
        """Of all values of the header, joined by commas; what cannot be read, or is of no use here, is passed over."""
        directives = (_DIRECTIVE.fullmatch(part.strip()) for part in header.split(","))
        found = {match[1].lower(): match[2] for match in directives if match}
        max_age = found.get("max-age")
        return cls("no-cache" in found, "no-store" in found, int(max_age) if max_age else None)
