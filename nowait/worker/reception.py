"""What becomes of a delivery: rejected, run by the pool, or left to Celery's own way."""

import json
import logging
from collections.abc import Iterable
from typing import Any, Protocol

from celery import Celery, signals
from celery.app import trace
from celery.app.task import Task
from celery.worker import state
from kombu.utils import json as kombus_json

from nowait.amqp.methods import Delivery
from nowait.messages.headers import decode_headers
from nowait.messages.validation import Rejected, validate_body, validate_headers
from nowait.worker.pools import Runner
from nowait.worker.request import Delivered, Post, Request
from nowait.worker.unsettled import Receipt

log = logging.getLogger("celery.worker.strategy")  # whose line about a task it is


class CelerysConsumer(Protocol):
    """What is needed of Nowait's consumer; see there, and `celery.worker.consumer.Consumer`."""

    app: Celery
    hostname: str
    event_dispatcher: Any
    connection_errors: Any
    task_buckets: Any
    disable_rate_limits: bool
    on_task_message: Any

    @property
    def sender(self) -> str | None:
        """The user that tasks have to come from; None for anybody."""

    @property
    def canvas(self) -> bool:
        """Tasks may name further tasks."""

    def reject(self, delivered: Delivered, error: Rejected) -> None:
        """Answer and dead-letter a message that is not to be run."""

    def handle(self, delivered: Delivered) -> None:
        """Take a message Celery's own way."""

    def drop_held(self) -> None:
        """Forget what Celery's own way holds and has not begun, as it will be delivered again."""


class Reception:
    """Receives the deliveries of an Intake.

    Args:
        consumer: whose tasks they are.
        runner: runs them.
        post: takes replies and settlements.
    """

    def __init__(self, consumer: CelerysConsumer, runner: Runner, post: Post) -> None:
        self._consumer = consumer
        self._runner = runner
        self._post = post
        self._tasks = consumer.app.tasks
        self._informs = log.isEnabledFor(logging.INFO)

    def receive(self, delivery: Delivery, receipt: Receipt) -> None:
        """Take charge of a delivery."""
        headers: dict[str, Any] = {}
        try:
            headers = _headers(delivery)
            payload = self._validated(delivery, headers)
        except Rejected as error:
            self._consumer.reject(Delivered(delivery, headers, receipt, self._post), error)
            return
        task = self._tasks[headers["task"]]
        delivered = Delivered(delivery, headers, receipt, self._post)
        if self._is_celerys(task, headers):
            self._consumer.handle(delivered)
            return
        request = Request(task, delivered, payload, self._consumer)
        state.task_reserved(request)
        if self._informs:
            self._log(request, headers)
        self._runner.waiting.append(request)
        self._runner.begin()

    def resume(self) -> None:
        """Tasks may begin again."""
        for _ in range(len(self._runner.waiting)):
            self._runner.begin()

    def lost(self) -> None:
        """The link is lost: what it delivered and has not begun will be delivered again."""
        for _ in self.withdraw():
            pass
        self._consumer.drop_held()

    def withdraw(self) -> Iterable[Receipt]:
        """The deliveries that have not begun, which will not."""
        while self._runner.waiting:
            try:
                request = self._runner.waiting.popleft()
            except IndexError:  # a thread was faster
                return
            state.task_ready(request)
            yield request.receipt

    def _validated(self, delivery: Delivery, headers: dict[str, Any]) -> Any:
        """The decoded body of a message that may be run. Raises Rejected."""
        validate_headers(
            headers,
            delivery.properties,
            delivery.content_type,
            delivery.properties.get("content_encoding"),
            size=delivery.size,
            tasks=self._tasks,
            sender=self._consumer.sender,
        )
        payload = _payload(delivery.body or b"")
        validate_body(payload, self._consumer.canvas)
        return payload

    def _is_celerys(self, task: Any, headers: dict[str, Any]) -> bool:
        """True for what only Celery's own way does: later, seldom, watched, or by a class of the application's."""
        consumer = self._consumer
        events = consumer.event_dispatcher
        return bool(
            headers.get("eta")
            or (not consumer.disable_rate_limits and consumer.task_buckets[task.name])
            or consumer.on_task_message
            or signals.task_received.receivers
            or (events and events.enabled and task.send_events and (not events.groups or "task" in events.groups))
            or (state.revoked_stamps and headers.get("stamped_headers"))
            or task.Strategy != Task.Strategy
            or task.Request != Task.Request
        )

    def _log(self, request: Request, headers: dict[str, Any]) -> None:
        context = {
            "id": request.id,
            "name": request.name,
            "args": headers.get("argsrepr", ""),
            "kwargs": headers.get("kwargsrepr", ""),
            "eta": None,
        }
        log.info(trace.LOG_RECEIVED, context, extra={"data": context})


def _headers(delivery: Delivery) -> dict[str, Any]:
    """The application headers. Raises Rejected when they cannot be decoded."""
    table = delivery.properties.get("headers")
    try:
        return {} if table is None else decode_headers(table)
    except ValueError as error:
        raise Rejected("the headers cannot be decoded") from error


def _payload(body: bytes) -> Any:
    """The JSON of a body, as kombu reads it. Raises Rejected."""
    try:
        text = body.decode()
        # kombu's marks of dates, UUIDs, decimals and bytes; to look for them in each object costs more than all else.
        return kombus_json.loads(text) if "__type__" in text else json.loads(text)
    except Exception as error:  # json's, kombu's own, RecursionError
        raise Rejected("the body is not JSON") from error
