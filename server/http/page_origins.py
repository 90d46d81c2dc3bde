"""Handlers that know of which origin the page is that a browser sends a request for."""

from collections.abc import Iterable

from tornado.httputil import HTTPHeaders
from tornado.web import HTTPError, RequestHandler

from server.http import origins
from server.http.access import READING
from server.http.context import Context
from server.http.sites import is_of_another_site


class OriginHandler(RequestHandler):
    """The base of BaseHandler.

    Attributes:
        open_to_all_sites: with the demo, too, pages of other sites may have browsers ask for it.
    """

    open_to_all_sites = False
    context: Context

    def initialize(self, context: Context) -> None:
        self.context = context
        self.sticky: dict[str, str] = {}
        self._varies: list[str] = []

    def set_sticky_header(self, name: str, value: str) -> None:
        """Set a header that stays when the answer becomes an error."""
        self.sticky[name] = value
        self.set_header(name, value)

    def vary_by(self, header: str) -> None:
        """The answer depends on a header of the request."""
        self._varies.append(header)
        self.set_sticky_header("Vary", ", ".join(self._varies))

    @property
    def is_of_another_site(self) -> bool:
        """A page has sent the request that is neither this server's nor of one of the origins that may."""
        headers = self.request.headers
        return headers.get("Origin") not in self.context.origins and is_of_another_site(headers)

    def check_site(self) -> None:
        """Raise HTTPError 403 for what a page of another site must not send; have those that may read the answer.

        421 for a name that is none of this server's.
        """
        if not self.context.hosts.accept(self.request.headers.get("Host")):
            raise HTTPError(421, "The server has not that name; NOWAIT_HOSTS has those that it has.")
        origin, listed = self.request.headers.get("Origin"), self.context.origins
        if listed:
            self.vary_by("Origin")
        if origin is not None and origin in listed:
            for name, value in origins.of_answer(origin).items():
                self.set_sticky_header(name, value)
        elif self.is_of_another_site:
            if self.context.demo and not self.open_to_all_sites:
                raise HTTPError(403, "A demo takes no requests that pages of other sites send.")
            if self.request.method not in (*READING, "OPTIONS"):
                raise HTTPError(403, "A page of another site changes nothing here.")

    def answer_preflight(self, methods: Iterable[str]) -> bool:
        """Finish, if a browser asks for a page of one of the origins what this route has; it has no key then.

        Args:
            methods: of the route.

        Returns False for all other requests.
        """
        headers: HTTPHeaders = self.request.headers
        if self.request.method != "OPTIONS" or "Access-Control-Request-Method" not in headers:
            return False
        if headers.get("Origin") not in self.context.origins:
            return False
        for name, value in origins.of_preflight(methods).items():
            self.set_header(name, value)
        self.set_status(204)
        self.finish()
        return True
