"""The routes of requests by their patterns, and their methods: what may be counted by, as clients make up none."""

import re
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.routing import PathMatches, Rule

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
NONE = "none"  # the route of a request that no pattern matches
_URL = re.compile("https?://([^/]+)", re.IGNORECASE)
_GROUP = re.compile(r"\((?:[^()]|\([^()]*\))*\)")


class Route(PathMatches):
    """A path, as a pattern; has requests know by which route they came.

    Attributes:
        name: the pattern with `{}` for each part that differs from path to path.
    """

    def __init__(self, pattern: str) -> None:
        super().__init__(pattern)
        self.name = _GROUP.sub("{}", pattern).replace("\\", "")

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """As PathMatches."""
        found = super().match(request)
        if found is not None:
            vars(request)["route"] = self.name
        return found


def origin_form(request: HTTPServerRequest) -> None:
    """Have a request with a whole URL, as clients of a proxy send it, be as any other (RFC 9112, 3.2.2)."""
    match = _URL.match(request.path)
    if match is not None:
        request.path = request.path[match.end() :] or "/"
        request.headers["Host"] = match[1]


def rules(routes: list[Any]) -> list[Rule]:
    """Routes, given as patterns, handlers and options, as Tornado's rules."""
    return [Rule(Route(pattern), handler, options) for pattern, handler, options in routes]


def route_of(request: HTTPServerRequest) -> str:
    """The name of the route by which a request came."""
    route: str = getattr(request, "route", NONE)
    return route


def method_of(request_method: str | None, other: str) -> str:
    """The method of a request; `other` for one that no route has, of which a client may make up any number."""
    return request_method if request_method in _METHODS else other
