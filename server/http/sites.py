"""Which site a browser's request comes from: https://www.w3.org/TR/fetch-metadata/."""

from collections.abc import Set

from tornado.httputil import HTTPHeaders

_OWN = ("none", "same-origin")


def is_of_another_site(headers: HTTPHeaders, listed: Set[str] = frozenset()) -> bool:
    """A page that is not this server's, and of none of the listed origins, has made a browser send the request.

    False for what is no browser, and for one that does not say.
    """
    return headers.get("Sec-Fetch-Site", "none") not in _OWN and headers.get("Origin") not in listed


def is_of_another_origin(headers: HTTPHeaders, listed: Set[str] = frozenset()) -> bool:
    """The same, and a browser that does not say so still names the page's origin, as it does for a WebSocket."""
    if "Sec-Fetch-Site" in headers:
        return is_of_another_site(headers, listed)
    origin = headers.get("Origin")
    if origin is None or origin in listed:
        return False
    return origin.partition("://")[2].lower() != headers.get("Host", "").lower()
