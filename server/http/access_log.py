"""The log line of each answer, and the header with the times of its parts."""

import logging

from tornado.web import RequestHandler

log = logging.getLogger(__name__)


def log_request(handler: RequestHandler) -> None:
    """One line for each answer, at a level that its status deserves."""
    status = handler.get_status()
    level = logging.WARNING if status >= 500 else logging.DEBUG
    if log.isEnabledFor(level):
        request = handler.request
        log.log(
            level,
            "request %s: %d %s %r in %.1f ms",
            getattr(handler, "request_id", "-"),
            status,
            request.method,
            request.path[:200],
            request.request_time() * 1000,
        )


def server_timing(bridge: float, runtime: float | None) -> str:
    """The value of `Server-Timing` (https://www.w3.org/TR/server-timing/), in milliseconds.

    Args:
        bridge: seconds that the call took.
        runtime: seconds of them that the task ran; None when the worker does not say.
    """
    parts = {"bridge": bridge}
    if runtime is not None:
        parts |= {"queue": max(0.0, bridge - runtime), "run": runtime}
    return ", ".join(f"{name};dur={seconds * 1000:.1f}" for name, seconds in parts.items())
