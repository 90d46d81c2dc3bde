"""Which site a browser's request comes from: https://www.w3.org/TR/fetch-metadata/."""

from tornado.httputil import HTTPHeaders


def is_of_another_site(headers: HTTPHeaders) -> bool:
    """A page that is not this server's has made a browser send the request.

    False for what is no browser, and for one that does not say.
    """
    return headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
