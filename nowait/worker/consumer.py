"""What a worker does with each message that arrives: checked first, run then.

A message that is rejected goes to the dead-letter queue with the reason, and does not affect other messages; its
caller is answered at once. With the pools threads and solo, tasks come by connections of their own, which spend a
fraction of what Celery's way costs; with the others, and where a message asks for what only Celery does, they are
Celery's. Used as Celery's `worker_consumer`.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

import amqp
from celery import signals
from celery.worker import consumer, state
from celery.worker.state import maybe_shutdown
from kombu import Message, compression
from kombu.serialization import prepare_accept_content

from nowait.messages.validation import (
    JSON,
    Rejected,
    as_version_2,
    validate_body,
    validate_headers,
    validate_properties,
)
from nowait.systemd import Notifier
from nowait.topology import Topology
from nowait.worker.dead_letters import DeadLetters
from nowait.worker.frames import tolerant
from nowait.worker.hub import HubCalls
from nowait.worker.intake import Intake
from nowait.worker.pools import runner
from nowait.worker.reception import Reception
from nowait.worker.request import Delivered
from nowait.worker.task_consumer import TaskConsumer

log = logging.getLogger(__name__)

_MAX_WARNINGS = 10  # rejections that are logged as warnings; a flood of them is not to fill a disk
_RETRY_DELAY = 1  # seconds from one try to connect to the next
_CLOSE_TIMEOUT = 10.0  # seconds that the broker gets for the last replies


class Consumer(consumer.Consumer):
    """Celery's consumer behind a check of each message.

    Gossip and mingle, by which workers greet each other, are off; so are heartbeat events, unless
    remote control is on. A broker that went away is tried every second.
    """

    hub: Any
    qos: Any
    conninfo: Any
    connection_errors: Any
    task_consumer: Any
    task_buckets: Any
    initial_prefetch_count: int
    qos_global: bool = True  # as RabbitMQ has it since 3.3; Celery sets it from 5.7 on, and for quorum queues

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        app = kwargs["app"]
        self._topology: Topology = app.conf.get("nowait_topology", Topology.declared())
        self._rejected = 0
        self._notifier = Notifier(app.conf.get("nowait_liveness_file"))
        options = kwargs["worker_options"] = dict(kwargs.get("worker_options") or {})
        options.update(without_gossip=True, without_mingle=True)
        if not app.conf.worker_enable_remote_control:
            options["without_heartbeat"] = True
        super().__init__(*args, **kwargs)
        self._intake: Intake | None = self._make_intake() if self.hub else None
        call_soon = self._intake.call if self._intake else self.call_soon
        self._dead_letters = DeadLetters(app, self._topology, call_soon, self.connection_errors)
        if self.hub:
            # Both threads have to work for it.
            self.hub.call_repeatedly(1.0, call_soon, self._notifier.alive)
        reject_compressed()
        self.accept = prepare_accept_content(app.conf.accept_content)
        self.sender = self._topology.server_user
        self.canvas = bool(app.conf.get("nowait_canvas", True))

    def _make_intake(self) -> Intake | None:
        """What takes the tasks; None for Celery's own way."""
        self._hub_calls = HubCalls()
        runs = runner(self.pool, self._hub_calls, lambda: self._intake is None or self._intake.full)
        if runs is None or self.conninfo.transport.driver_type != "amqp":
            return None
        celerys: Any = self
        intake = Intake(self.app, lambda post: Reception(celerys, runs, post))
        signals.worker_shutting_down.connect(self._shutting_down, weak=False)
        return intake

    def loop_args(self) -> Any:
        """What Celery's event loop works with; called whenever its own connection has been made."""
        if self._intake is not None:
            self.task_consumer = TaskConsumer(self.task_consumer, self._intake)
            self._intake.start(self.initial_prefetch_count, self.qos_global)
        return super().loop_args()

    def register_with_event_loop(self, hub: Any) -> None:
        """Called whenever the event loop is about to run."""
        super().register_with_event_loop(hub)
        if self._intake is not None:
            self._hub_calls.register(hub)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Called when Celery's own connection is lost: that of the tasks may not be."""
        prefetch_count = self.initial_prefetch_count
        if self._intake is not None:
            self.task_consumer = None
        super().on_connection_error_after_connected(exc)
        if self._intake is not None:
            # Celery takes it back up as what it has fetched is acknowledged: this was not fetched by it.
            self.initial_prefetch_count, self._maximum_prefetch_restored = prefetch_count, True

    def on_close(self) -> None:
        """Called when Celery's own connection is lost, or its worker ends: what it holds will not be run by it."""
        if self._intake is not None:
            for request in self._held():
                request.message.reject_log_error(log, self.connection_errors, requeue=True)
        super().on_close()

    def drop_held(self) -> None:
        """Called when the connection of the tasks is lost: the broker delivers again what Celery's own way holds."""
        self._hub_calls.call_soon(super().on_close)

    def stop(self) -> None:
        """Called when the worker ends, while its pool still runs."""
        if self._intake is not None:
            self._intake.withdraw()
        super().stop()

    def shutdown(self) -> None:
        """Called when the worker ends, after its pool."""
        if self._intake is not None:
            self._intake.close(_CLOSE_TIMEOUT)
        super().shutdown()

    def _shutting_down(self, **_: Any) -> None:
        """Called by the handler of a signal that is to end the worker."""
        assert self._intake is not None
        self._intake.withdraw()
        # Its event loop may sleep for a second.
        self._hub_calls.call_soon(lambda: None)

    def _held(self) -> list[Any]:
        """The requests that wait for their time, by an ETA or a rate limit, in Celery's own way."""
        limited = [request for bucket in self.task_buckets.values() if bucket for request, _ in bucket.contents]
        scheduled: Any = getattr(state, "scheduled_requests", ())
        return [*scheduled, *limited]

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], None]:
        """The function that gets each message."""
        handle = super().create_task_handler(*args, **kwargs)
        connection: Any = self.connection
        if self._topology.declares:
            self._dead_letters.declare(connection)

        def receive(message: Message) -> None:
            try:
                self.validate(message)
            except Rejected as error:
                self._reject(message, error)
            else:
                handle(message)

        return receive

    def handle(self, delivered: Delivered) -> None:
        """Take a message that is valid Celery's own way."""

        def handle() -> None:
            if isinstance(self.task_consumer, TaskConsumer) and self.task_consumer.on_message is not None:
                self.task_consumer.on_message(delivered.message(self.accept))
            else:  # it connects; the message would be lost with that
                delivered.settle("requeue")

        self._hub_calls.call_soon(handle)

    def on_ready(self) -> None:
        """Called whenever the worker begins to consume."""
        super().on_ready()
        self._notifier.ready()

    def perform_pending_operations(self) -> None:
        """Called by the loop of the pools without an event loop, every 2 seconds or more often."""
        super().perform_pending_operations()
        self._notifier.alive()

    def call_soon_ack(self, acknowledge: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Called when a task is to be acknowledged, by the thread that has run it."""
        if self._intake is not None:
            return acknowledge(*args, **kwargs)
        if self.hub and threading.current_thread() is threading.main_thread():
            # The event loop would sleep before it does so: up to a second for each task of the pool solo.
            return acknowledge(*args, **kwargs)
        celerys: Any = super()
        return celerys.call_soon_ack(acknowledge, *args, **kwargs)

    def ensure_connected(self, conn: Any) -> Any:
        """Called with a connection that is to be opened: returns it open, however long that takes."""

        def failed(error: Exception, _pause: float) -> None:
            log.error("broker: %s is not connected: %s", conn.as_uri(), error)

        def wait() -> None:
            maybe_shutdown()
            self._notifier.alive()

        conn.ensure_connection(
            failed, interval_start=_RETRY_DELAY, interval_step=0, interval_max=_RETRY_DELAY, callback=wait
        )
        if isinstance(conn.connection, amqp.Connection):
            opened: Any = conn.connection
            opened.on_inbound_frame = tolerant(opened.on_inbound_frame)
        return conn

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Called for a message that kombu could not read, in place of receive(); Celery drops it here."""
        unreadable = Rejected(f"it cannot be read: {type(exc).__name__}")
        self._reject(message, exc if isinstance(exc, Rejected) else unreadable)

    def validate(self, message: Message) -> None:
        """Raise Rejected for a message that is not to be run."""
        body = message.body
        validate_properties(
            message.properties,
            message.content_type,
            message.content_encoding,
            size=len(body) if isinstance(body, (bytes, str, memoryview)) else 0,
            sender=self.sender,
            accept=message.accept or (JSON,),
        )
        headers = message.headers
        version_2 = "task" in headers
        if version_2:
            validate_headers(headers, self.app.tasks)
        try:
            decoded = message.payload
        except Exception as error:  # json's, kombu's own, RecursionError; a pickle may raise anything
            raise Rejected("the body cannot be decoded") from error
        if not version_2:
            headers, decoded = as_version_2(headers, decoded)
            validate_headers(headers, self.app.tasks)
        validate_body(decoded, self.canvas)

    def reject(self, delivered: Delivered, error: Rejected) -> None:
        """Answer and dead-letter a message that is not to be run; called by the intake's thread."""
        self._reject(delivered.message(self.accept), error)

    def _reject(self, message: Message, error: Rejected) -> None:
        self._rejected += 1
        log.log(logging.WARNING if self._rejected <= _MAX_WARNINGS else logging.DEBUG, "message rejected: %s", error)
        self._dead_letters.add(message, error, self._intake or self.qos)


def reject_compressed() -> None:
    """Have kombu reject compressed messages, in this process: it inflates them before anybody can look at their size.

    What tasks of this process send may be compressed, for other workers.
    """

    def reject(_content: bytes) -> bytes:
        raise Rejected("compressed content is not allowed")

    for content_type in compression.encoders():
        encoder: Any = compression.get_encoder(content_type)
        compression.register(encoder[0], reject, content_type)
