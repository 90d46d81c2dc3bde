"""The address of the metrics: https://prometheus.io/docs/instrumenting/exposition_formats/."""

import socket
import sys
import threading
from collections.abc import Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, Metric, disable_created_metrics, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

import nowait
from nowait.settings import HostPort

_MOST = 16  # connections at once; a further one is closed
_TIMEOUT = 10.0  # seconds in which something has to come by one, or to be taken


def listen(at: HostPort, registry: CollectorRegistry) -> None:
    """Answer at an address from now on, by threads, which also answer while a loop is held up. Raises OSError.

    The registry gets the version, too.
    """
    # A series beside each, for nobody: with the values in files there is none.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry.register(_Build())
    server = _Server(at, registry)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()


class _Server(ThreadingMixIn, WSGIServer):
    """One whose threads and descriptors are bounded: prometheus_client's own takes any number of silent clients."""

    daemon_threads = True
    request_queue_size = 128  # of those that are not accepted yet: with five, connecting may take seconds

    def __init__(self, at: HostPort, registry: CollectorRegistry) -> None:
        self.address_family = socket.getaddrinfo(at.host, at.port, type=socket.SOCK_STREAM)[0][0]
        self._room = threading.BoundedSemaphore(_MOST)
        super().__init__((at.host, at.port), _Request)
        self.set_app(make_wsgi_app(registry))

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._room.release()  # there is no thread that would
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # That clients leave, or send nothing, is no error of this server.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Request(WSGIRequestHandler):
    timeout = _TIMEOUT

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: it is asked every few seconds."""


class _Build(Collector):
    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("nowait_build_info", "1, with the version as a label", labels=["version"])
        build.add_metric([nowait.__version__], 1)
        yield build
