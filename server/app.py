"""Puts the handlers together."""

from collections.abc import Awaitable, Callable
from typing import Any

from tornado.web import Application

from server.handlers import health, users
from server.handlers.base import Context, NotFoundHandler, Requests, Tasks, log_request
from server.settings import Settings

Close = Callable[[], Awaitable[None]]


class WebApplication(Application):
    """The web application, with what has to be ended before the server stops.

    Attributes:
        requests: those being answered.
    """

    def __init__(self, routes: list[Any], requests: Requests, close: Close | None, **settings: Any) -> None:
        super().__init__(routes, **settings)
        self.requests = requests
        self._close = close

    async def close(self) -> None:
        """Let go of what the handlers hold."""
        if self._close is not None:
            await self._close()


def make_app(bridge: Tasks, settings: Settings) -> WebApplication:
    """The application that answers through `bridge`."""
    requests = Requests()
    context = Context(bridge, requests, settings.timeout, settings.demo)
    routes = health.routes(context) + users.routes(context)
    close: Close | None = None
    if settings.demo:
        # Imported here alone: a server without the demo needs no database driver.
        from server.comparison import Comparison
        from server.handlers import comparison

        queries = Comparison(settings.database_url)
        routes += comparison.routes(context, queries)
        close = queries.close
    return WebApplication(
        routes,
        requests,
        close,
        default_handler_class=NotFoundHandler,
        default_handler_args={"context": context},
        log_function=log_request,
    )
