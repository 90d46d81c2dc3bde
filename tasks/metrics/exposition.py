"""The address of the metrics: https://prometheus.io/docs/instrumenting/exposition_formats/."""

import logging

from prometheus_client import CollectorRegistry, disable_created_metrics, start_http_server

from nowait.settings import HostPort

log = logging.getLogger(__name__)


def listen(at: HostPort, registry: CollectorRegistry) -> None:
    """Answer at an address from now on, by a thread. Ends the program where that cannot be: one line, status 1."""
    # A series beside each, for nobody: with the values in files there is none.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    try:
        start_http_server(at.port, at.host, registry)
    except OSError as error:
        log.error("cannot listen on %s: %s", at, error.strerror)
        raise SystemExit(1) from None
