"""What a worker does with each message that arrives: checked first, run then.

A message that is rejected goes to the dead-letter queue with the reason, and does not affect other messages; its
caller is answered at once. Used as Celery's `worker_consumer`.
"""

import logging
from collections.abc import Callable
from typing import Any

import amqp
from celery import signals
from celery.app.defaults import DEFAULTS
from celery.bootsteps import Blueprint
from celery.worker.state import maybe_shutdown
from kombu import Message, compression

from nowait.broker import require_rabbitmq
from nowait.messages.validation import (
    JSON,
    NoSuchTask,
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
from nowait.worker.lean import LeanConsumer
from nowait.worker.request import Delivered

log = logging.getLogger(__name__)

_MAX_WARNINGS = 10  # rejections that are logged as warnings; a flood of them is not to fill a disk
_RETRY_DELAY = 1  # seconds from one try to connect to the next


def _with_own_steps(celerys: type[Blueprint]) -> type[Blueprint]:
    # By its name: Celery 5.3 has no such step, nor what ours is made of.
    own = "nowait.worker.delayed_delivery:DelayedDelivery"
    steps = [own if step.endswith(":DelayedDelivery") else step for step in celerys.default_steps]
    return type("Blueprint", (celerys,), {"default_steps": steps})


class Consumer(LeanConsumer):
    """Celery's consumer behind a check of each message.

    Gossip and mingle, by which workers greet each other, are off; so are heartbeat events, unless
    remote control is on. A broker that went away is tried every second.

    Raises ValueError where the broker is neither RabbitMQ nor memory://, as in tests.
    """

    qos: Any
    event_dispatcher: Any

    Blueprint = _with_own_steps(LeanConsumer.Blueprint)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        app = kwargs["app"]
        require_rabbitmq(app, besides=["memory"])
        self._topology: Topology = app.conf.get("nowait_topology", Topology.declared())
        self._rejected = 0
        self._notifier = Notifier(app.conf.get("nowait_liveness_file"))
        options = kwargs["worker_options"] = dict(kwargs.get("worker_options") or {})
        options.update(without_gossip=True, without_mingle=True)
        if not app.conf.worker_enable_remote_control:
            options["without_heartbeat"] = True
        super().__init__(*args, **kwargs)
        # What holds rejected messages has them on the thread that receives.
        self._call_receiver = self.intake.call if self.intake else self.call_soon
        self._dead_letters = DeadLetters(app, self._topology, self._call_receiver, self.connection_errors)
        reject_compressed()
        self.sender = self._topology.server_user
        self.canvas = bool(app.conf.get("nowait_canvas", True))

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
            except Exception as error:
                # It would go back to its queue, and end the next worker.
                log.exception("a message could not be received")
                self._reject(message, Rejected(f"it could not be received: {type(error).__name__}"))
            else:
                handle(message)

        return receive

    def register_with_event_loop(self, hub: Any) -> None:
        """Called whenever the event loop is about to run."""
        super().register_with_event_loop(hub)
        # Both threads have to work for it.
        hub.call_repeatedly(1.0, self._call_receiver, self._notifier.alive)

    def on_ready(self) -> None:
        """Called whenever the worker begins to consume."""
        super().on_ready()
        self._notifier.ready()

    def perform_pending_operations(self) -> None:
        """Called by the loop of the pools without an event loop, every 2 seconds or more often."""
        super().perform_pending_operations()
        self._notifier.alive()

    def ensure_connected(self, conn: Any) -> Any:
        """Called with a connection that is to be opened: returns it open, however long that takes."""

        def failed(error: Exception, _pause: float) -> None:
            log.error("broker: %s is not connected: %s", conn.as_uri(), error)

        def wait() -> None:
            maybe_shutdown()
            self._notifier.alive()

        settings: Any = self.app.conf
        retries = settings.broker_connection_retry
        if self.first_connection_attempt and settings.broker_connection_retry_on_startup is not None:
            retries = settings.broker_connection_retry_on_startup
        limit = settings.broker_connection_max_retries
        if retries:
            conn.ensure_connection(
                failed,
                # Celery's default is a number of much longer pauses.
                max_retries=None if limit == DEFAULTS["broker_connection_max_retries"] else limit,
                interval_start=_RETRY_DELAY,
                interval_step=0,
                interval_max=_RETRY_DELAY,
                callback=wait,
            )
        else:
            conn.connect()
        self.first_connection_attempt = False
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
        self.call_hub(self._announce, delivered.message(self.accept), error)
        self._dead_letter(delivered.message(self.accept), error)

    def _reject(self, message: Message, error: Rejected) -> None:
        self._announce(message, error)
        self._dead_letter(message, error)

    def _announce(self, message: Message, error: Rejected) -> None:
        """Send the signals and the event that Celery's consumer sends of a message that it does not run."""
        if not isinstance(error, NoSuchTask):
            signals.task_rejected.send(sender=self, message=message, exc=error)
            return
        task_id, name = error.task_id, error.task
        if self.event_dispatcher:
            self.event_dispatcher.send("task-failed", uuid=task_id, exception=f"NotRegistered({name!r})")
        signals.task_unknown.send(sender=self, message=message, exc=error, name=name, id=task_id)

    def _dead_letter(self, message: Message, error: Rejected) -> None:
        self._rejected += 1
        log.log(logging.WARNING if self._rejected <= _MAX_WARNINGS else logging.DEBUG, "message rejected: %s", error)
        self._dead_letters.add(message, error, self.intake or self.qos)


def reject_compressed() -> None:
    """Have kombu reject compressed messages, in this process: it inflates them before anybody can look at their size.

    What tasks of this process send may be compressed, for other workers.
    """

    def reject(_content: bytes) -> bytes:
        raise Rejected("compressed content is not allowed")

    for content_type in compression.encoders():
        encoder: Any = compression.get_encoder(content_type)
        compression.register(encoder[0], reject, content_type)
