"""The origins whose pages may use this server: https://fetch.spec.whatwg.org/#http-cors-protocol. No I/O."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:.]+\](:[0-9]{1,5})?")
_NONE = "none"
_MAX_AGE = "600"  # seconds that a browser may go by the answer to a preflight
_TAKEN = (
    "Accept", "Authorization", "Cache-Control", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match",
    "Last-Event-ID", "Prefer", "Traceparent", "X-Request-Id",
)  # fmt: skip
_SHOWN = (
    "Age", "Cache-Status", "Content-Location", "ETag", "Idempotent-Replayed", "Link", "Location", "Preference-Applied",
    "RateLimit", "RateLimit-Policy", "Retry-After", "Server-Timing", "WWW-Authenticate", "X-Request-Id",
)  # fmt: skip


class Origins(frozenset[str]):
    """The origins, with commas between as text."""

    def __str__(self) -> str:
        return ",".join(sorted(self)) or _NONE

    @classmethod
    def parse(cls, text: str) -> "Origins":
        """Origins with commas between, or `none`. Raises ValueError."""
        origins = [] if text == _NONE else [origin.strip() for origin in text.split(",")]
        if not all(map(_is_origin, origins)):
            raise ValueError(f"{text!r} is not allowed, expected origins as browsers have them, https://app.example")
        return cls(origins)


def of_answer(origin: str) -> dict[str, str]:
    """The header fields of an answer for a page of an origin that may read it."""
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": ", ".join(_SHOWN)}


def of_preflight(methods: Iterable[str]) -> dict[str, str]:
    """Those with which the answer to a preflight goes on, for a route with these methods."""
    return {
        "Access-Control-Allow-Methods": ", ".join(methods),
        "Access-Control-Allow-Headers": ", ".join(_TAKEN),
        "Access-Control-Max-Age": _MAX_AGE,
    }


def _is_origin(text: str) -> bool:
    """As a browser writes it: in lower case, without the usual port."""
    if not _ORIGIN.fullmatch(text):
        return False
    scheme, port = urlsplit(text).scheme, text.rpartition("]")[2].rpartition(":")[2]
    return port != {"http": "80", "https": "443"}[scheme]
