"""The log line of each answer."""

import logging

from tornado.web import RequestHandler

log = logging.getLogger(__name__)


def log_request(handler: RequestHandler) -> None:
    """One line for each answer, at a level that its status deserves."""
    status = handler.get_status()
    level = logging.WARNING if status >= 500 else logging.DEBUG
    if log.isEnabledFor(level):
        request = handler.request
        request_id, milliseconds = getattr(handler, "request_id", "-"), request.request_time() * 1000
        line = "request %s: %d %s %r in %.1f ms"
        log.log(level, line, request_id, status, request.method, request.path[:200], milliseconds)
