"""Which site a browser's request comes from: https://www.w3.org/TR/fetch-metadata/."""

from tornado.httputil import HTTPHeaders


def is_of_another_site(headers: HTTPHeaders) -> bool:
    """A page that is not this server's has made a browser send the request.

    False for what is no browser, and for one that does not say. Over plain HTTP, browsers say it for 127.0.0.1 and
    localhost alone; what changes something, or opens a WebSocket, has an `Origin` everywhere.
    """
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("none", "same-origin")
    origin = headers.get("Origin")
    return origin is not None and origin.partition("://")[2].lower() != headers.get("Host", "").lower()
