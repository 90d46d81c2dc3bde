"""Which site a browser's request comes from: https://www.w3.org/TR/fetch-metadata/."""

from tornado.httputil import HTTPHeaders


def is_of_another_site(headers: HTTPHeaders) -> bool:
    """A page that is not this server's has made a browser send the request.

    False for what is no browser, and for one that does not say.
    """
    return headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")


def is_of_another_origin(headers: HTTPHeaders) -> bool:
    """The same, and a browser that does not say so still names the page's origin, as it does for a WebSocket."""
    if "Sec-Fetch-Site" in headers:
        return is_of_another_site(headers)
    origin = headers.get("Origin")
    return origin is not None and origin.partition("://")[2].lower() != headers.get("Host", "").lower()
