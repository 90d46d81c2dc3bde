"""Celery's consumer, whose tasks come by connections of their own where its pool allows it.

Celery's own connection is left with events and remote control. What is costly about its way, a task at a time through
its event loop, is left out for the pools threads and solo; what a message asks for besides, such as an ETA, it does.
"""

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any

from celery import signals
from celery.worker import consumer, state
from celery.worker.request import Request as CelerysRequest
from kombu.serialization import prepare_accept_content

from nowait.messages.validation import Rejected
from nowait.worker.events import TaskEvents
from nowait.worker.hub import HubCalls
from nowait.worker.intake import Intake
from nowait.worker.pools import runner
from nowait.worker.reception import Reception
from nowait.worker.request import Delivered
from nowait.worker.task_consumer import TaskConsumer

log = logging.getLogger(__name__)

_CLOSE_TIMEOUT = 10.0  # seconds that the broker gets for the last replies


class LeanConsumer(consumer.Consumer):
    """Has an Intake receive the tasks, with the pools threads and solo and a broker that speaks AMQP.

    What becomes of messages that are not to be run is its subclass's: validate() and reject(), and what else
    `nowait.worker.reception.CelerysConsumer` lists.

    Attributes:
        intake: takes the tasks; None where Celery's own way is taken.
        accept: the content types that messages may have.
        task_events: sends the events of the tasks that an Intake has received.
    """

    hub: Any
    timer: Any
    conninfo: Any
    connection_errors: Any
    task_consumer: Any
    task_buckets: Any
    event_dispatcher: Any
    initial_prefetch_count: int
    qos: Any
    reject: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.accept = prepare_accept_content(self.app.conf.accept_content)
        self._hub_calls = HubCalls(self.connection_errors)
        self.task_events = TaskEvents(lambda: self.event_dispatcher, self.call_hub)
        self.intake = self._make_intake() if self.hub and self.conninfo.transport.driver_type == "amqp" else None

    def _make_intake(self) -> Intake | None:
        runs = runner(self.pool, self._hub_calls, lambda: intake.full)
        # An exclusive queue is that of the connection that has declared it.
        if runs is None or any(queue.exclusive for queue in self.app.amqp.queues.consume_from.values()):
            return None
        celerys: Any = self
        intake = Intake(self.app, lambda post: Reception(celerys, runs, post))
        signals.worker_shutting_down.connect(self._shutting_down, weak=False)
        return intake

    # Called by the intake's thread.

    def handle(self, delivered: Delivered) -> None:
        """Take a message that is valid Celery's own way."""
        self.call_hub(self._handle, delivered)

    def call_hub(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Have a function called by the thread of Celery's event loop."""
        self._hub_calls.call_soon(function, *arguments)

    def drop_held(self) -> None:
        """The connection of the tasks is lost: the broker will deliver again what Celery's own way holds."""
        self.call_hub(self._lost)

    # Called by Celery.

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Any:
        """The function that gets each message, Celery's own way."""
        self._celerys_handler = super().create_task_handler(*args, **kwargs)
        return self._celerys_handler

    def loop_args(self) -> Any:
        """What Celery's event loop works with; called whenever its own connection has been made."""
        if self.intake is not None:
            self.task_consumer = TaskConsumer(self.task_consumer, self.intake)
        return super().loop_args()

    def register_with_event_loop(self, hub: Any) -> None:
        """Called whenever the event loop is about to run."""
        super().register_with_event_loop(hub)
        self._hub_calls.register(hub)

    def call_soon_ack(self, acknowledge: Any, *args: Any, **kwargs: Any) -> Any:
        """Called when a task is to be acknowledged, by the thread that has run it."""
        # On its main thread, Celery's event loop would sleep before it does so: up to a second for each task of solo.
        if self.intake is not None or (self.hub and threading.current_thread() is threading.main_thread()):
            return acknowledge(*args, **kwargs)
        celerys: Any = super()
        return celerys.call_soon_ack(acknowledge, *args, **kwargs)

    def apply_eta_task(self, task: Any) -> None:
        """Called when the moment of a task has come."""
        super().apply_eta_task(task)
        self._wake_hub()

    def _limit_post_eta(self, request: Any, bucket: Any, tokens: int) -> Any:
        celerys: Any = super()
        celerys._limit_post_eta(request, bucket, tokens)
        self._wake_hub()

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Called when Celery's own connection is lost: that of the tasks may not be."""
        if self.intake is None:
            super().on_connection_error_after_connected(exc)
            return
        # Celery would stop its consumer, and fetch less for what was not fetched by its connection.
        self.task_consumer, prefetch_count = None, self.initial_prefetch_count
        super().on_connection_error_after_connected(exc)
        self.initial_prefetch_count, self._maximum_prefetch_restored = prefetch_count, True

    def on_close(self) -> None:
        """Called when Celery's own connection is lost, or its worker ends: what it holds will not be run by it."""
        if self.intake is None:
            super().on_close()
        else:
            # Celery's would forget all that it has received, by whatever connection.
            self._drop_held()

    def stop(self) -> None:
        """Called when the worker ends, while its pool still runs."""
        if self.intake is not None:
            self.intake.withdraw()
        super().stop()

    def shutdown(self) -> None:
        """Called when the worker ends, after its pool."""
        if self.intake is not None:
            signals.worker_shutting_down.disconnect(self._shutting_down)
            self.intake.close(_CLOSE_TIMEOUT)
            # Celery's own connections would wait for ever for a broker that is blocked.
            owners: list[Any] = [self, self.event_dispatcher]
            for owner in owners:
                with contextlib.suppress(Exception):
                    owner.connection.connection.transport.sock.settimeout(_CLOSE_TIMEOUT)
            self.task_events.flush()
            if self.event_dispatcher is not None:
                self.event_dispatcher.flush()
        super().shutdown()
        self._hub_calls.close()

    def _shutting_down(self, **_: Any) -> None:
        """Called by the handler of a signal that is to end the worker."""
        assert self.intake is not None
        self.intake.withdraw()
        self._wake_hub()

    def _wake_hub(self) -> None:
        # Celery's event loop looks for a new prefetch count, or whether it is to end, whenever something comes; with
        # nothing to receive, it would sleep for up to a second before.
        self.call_hub(lambda: None)

    def _handle(self, delivered: Delivered) -> None:
        """On the thread of Celery's event loop."""
        assert self.intake is not None
        if not self.intake.owes(delivered.receipt):  # it will be delivered again
            return
        try:
            self._celerys_handler(delivered.message(self.accept))
        except Exception as error:
            if isinstance(error, self.connection_errors) and not (isinstance(error, OSError) and self._is_connected):
                delivered.settle("requeue")  # an event cannot be sent
                raise
            log.exception("a message could not be received")
            if delivered.delivery.source().redelivered:
                rejected = Rejected(f"it could not be received: {type(error).__name__}")
                self.intake.call(self.reject, delivered, rejected)
            else:
                delivered.settle("requeue")

    @property
    def _is_connected(self) -> bool:
        """Celery's own connections are up."""
        owners: list[Any] = [self, self.event_dispatcher]
        connections = [owner.connection for owner in owners if owner is not None]
        return all(connection is not None and connection.connected for connection in connections)

    def _lost(self) -> None:
        # Each that waits for its moment has raised Celery's prefetch count, and will again.
        for _ in range(self._drop_held()):
            self.qos.decrement_eventually()

    def _drop_held(self) -> int:
        """Give back the requests that wait in Celery's own way, for an ETA or a rate limit, and forget them.

        Returns how many have waited for their ETA.
        """
        held = []
        for _, _, entry in list(self.timer.schedule.queue):
            if entry.args and isinstance(entry.args[0], CelerysRequest) and not entry.canceled:
                self.timer.cancel(entry)
                held.append(entry.args[0])
        waited = len(held)
        for bucket in filter(None, self.task_buckets.values()):
            held += [request for request, _ in bucket.contents]
            bucket.clear_pending()
        for request in held:
            state.task_ready(request)
            # To no effect where the connection is lost that it came by.
            request.message.reject_log_error(log, self.connection_errors, requeue=True)
        return waited
