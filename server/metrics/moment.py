"""Metrics of what is true at a moment."""

import math
from collections.abc import Collection, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from nowait.bridge import Statistics
from nowait.link.depths import Depth
from server.lifecycle import Server

_FILES = ("keys", "certificate")
_STATES = ("connected", "blocked", "connecting", "stopped")
_UNMATCHED = ("late", "duplicate", "unknown", "malformed")


class MomentMetrics:
    """Reads a server. Of several processes, the sum is given.

    Args:
        registry: has the metrics; None where they are in files.
        message_queues: the queues that are for messages; all others are for tasks.
    """

    def __init__(self, registry: CollectorRegistry | None, message_queues: Collection[str] = ()) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"nowait_{name}", text, labels, registry=registry, multiprocess_mode="livesum")

        def same(name: str, text: str, *labels: str) -> Gauge:
            # Read by one process for all, or the same in each.
            return Gauge(f"nowait_{name}", text, labels, registry=registry, multiprocess_mode="livemostrecent")

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"nowait_{name}", text, labels, registry=registry)

        self._processes = gauge("server_processes", "Server processes that are running")
        self._requests = gauge("http_requests_in_flight", "Requests whose answers have not left")
        self._connections = gauge("http_connections", "Connections of clients that are open")
        self._connections_most = gauge("http_connections_limit", "Connections of clients that there may be")
        self._failing = gauge("reloads_failing", "Server processes that could not read files again, by what of", "of")
        self._certificate = same("tls_certificate_expires_timestamp_seconds", "When the certificate of HTTPS ends")
        self._calls = gauge("calls_in_flight", "Calls without an answer")
        self._unconfirmed = gauge("confirms_outstanding", "Messages that the broker has not confirmed")
        self._bytes = gauge("reply_bytes", "Bytes of large replies that are held")
        self._streams = gauge("streams", "Streams of rows that are read")
        self._subscribers = gauge("subscribers", "Clients that follow topics")
        self._watchers = gauge("watchers", "Clients that wait for news of jobs")
        self._consumers = gauge("message_consumers", "Clients that consume queues of messages")
        self._pool = gauge("database_connections", "Connections to the database of jobs, by state", "state")
        self._pool_most = gauge("database_connections_limit", "Connections to it that there may be")
        self._broker = gauge("broker_processes", "Server processes, by what their broker is to them", "state")
        self._seconds = counter("broker_seconds", "Seconds that server processes have spent like that", "state")
        self._connects = counter("broker_connects", "Connections that were made to the broker")
        self._resent = counter("calls_resent", "Messages that were sent again after a lost connection")
        self._unmatched = counter("replies_unmatched", "Replies that no call waited for, by kind", "kind")
        self._joined = counter("calls_joined", "Requests that have waited for the call of another one")
        self._hits = counter("kept_answers_hits", "Answers that were given again")
        self._kept = gauge("kept_answer_bytes", "Bytes of answers that may be given again")
        self._held = gauge("refusals_held", "Refusals that wait to be answered")
        self._waiting = same("queue_messages", "Messages in a queue, without those at workers", "queue", "kind")
        self._takers = same("queue_consumers", "Consumers of a queue", "queue", "kind")
        self._message_queues = message_queues
        self._before: Statistics | None = None
        self._joined_before = self._hits_before = 0
        self._queues: set[str] = set()
        for state in _STATES:
            self._seconds.labels(state)
        for kind in _UNMATCHED:
            self._unmatched.labels(kind)

    def set(self, server: Server, elapsed: float) -> None:
        """Read all of it, `elapsed` seconds after the last time."""
        app, certificate = server.app, server.certificate
        now = server.bridge.statistics()
        self._processes.set(1)
        self._requests.set(len(app.in_flight))
        self._connections.set(len(server.connections))
        self._connections_most.set(server.connections.most)
        for source in _FILES:
            self._failing.labels(source).set(source in server.reloader.failing)
        self._certificate.set(math.nan if certificate is None else certificate.expires.timestamp())
        self._calls.set(now.in_flight)
        self._unconfirmed.set(now.unconfirmed)
        self._bytes.set(now.reply_bytes)
        self._streams.set(now.streams)
        self._subscribers.set(len(app.topics))
        self._watchers.set(len(app.watcher))
        self._consumers.set(len(app.queues))
        self._pool.labels("in use").set(app.connections.in_use)
        self._pool.labels("waited for").set(app.connections.waiting)
        self._pool_most.set(app.connections.most)
        for state in _STATES:
            self._broker.labels(state).set(state == now.state)
        self._seconds.labels(now.state).inc(elapsed)
        self._connects.inc(now.connects - (self._before.connects if self._before else 0))
        self._resent.inc(now.resent - (self._before.resent if self._before else 0))
        for kind in _UNMATCHED:
            before = getattr(self._before, kind) if self._before else 0
            self._unmatched.labels(kind).inc(getattr(now, kind) - before)
        self._before = now
        joined, hits = app.shared_calls.joined, app.kept_answers.hits
        self._joined.inc(joined - self._joined_before)
        self._hits.inc(hits - self._hits_before)
        self._joined_before, self._hits_before = joined, hits
        self._kept.set(app.kept_answers.bytes)
        self._held.set(app.gate.held)

    def set_depths(self, depths: Mapping[str, Depth | None] | None) -> None:
        """What was read of the queues; None for nothing. Not a number is what is not known."""
        found = depths or {}
        self._queues |= found.keys()
        for name in self._queues:
            depth = found.get(name)
            kind = "messages" if name in self._message_queues else "tasks"
            self._waiting.labels(name, kind).set(math.nan if depth is None else depth.waiting)
            self._takers.labels(name, kind).set(math.nan if depth is None else depth.consumers)
