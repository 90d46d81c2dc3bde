"""The log line of each answer."""

import logging
from collections.abc import Callable

from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from server.http.route import route_of
from server.observer import Observer

log = logging.getLogger(__name__)
refused = log.getChild("refused")  # apart: in a flood they are many


def log_and_observe(observer: Observer) -> Callable[[RequestHandler], None]:
    """What is to be done about each answer: logged, and seen by the observer."""

    def done(handler: RequestHandler) -> None:
        request = handler.request
        # Tornado's type leaves room for none.
        observer.answered(route_of(request), request.method or "", handler.get_status(), _seconds(request))
        log_request(handler)

    return done


def log_request(handler: RequestHandler) -> None:
    """One line for each answer, at a level that its status deserves."""
    status = handler.get_status()
    level = logging.WARNING if status >= 500 else logging.DEBUG
    logger = refused if status == 503 else log
    if logger.isEnabledFor(level):
        request = handler.request
        request_id, milliseconds = getattr(handler, "request_id", "-"), _seconds(request) * 1000
        line = "request %s: %d %s %r in %.1f ms"
        fields = {"request_id": request_id, "status": status, "route": route_of(request)}
        values = (request_id, status, request.method, request.path[:200], milliseconds)
        logger.log(level, line, *values, extra={"fields": fields})


def _seconds(request: HTTPServerRequest) -> float:
    """Since the request's headers; by a clock that may be set back meanwhile."""
    return max(0.0, request.request_time())
