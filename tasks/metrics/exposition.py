"""The address of the metrics."""

import logging

from prometheus_client import CollectorRegistry

from nowait.metrics import exposition
from nowait.settings import HostPort

log = logging.getLogger(__name__)


def listen(at: HostPort, registry: CollectorRegistry) -> None:
    """Answer at an address from now on. Ends the program where that cannot be: one line, status 1."""
    try:
        exposition.listen(at, registry)
    except OSError as error:
        log.error("cannot listen on %s: %s", at, error.strerror)
        raise SystemExit(1) from None
