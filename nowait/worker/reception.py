"""What becomes of a delivery: rejected, run by the pool, or left to Celery's own way."""

import json
import logging
from collections.abc import Container, Iterable
from typing import Any, Protocol

from celery import Celery, signals
from celery.app import trace
from celery.app.task import Task
from celery.worker import state
from kombu import Message
from kombu.utils import json as kombus_json

from nowait.amqp.methods import Delivery
from nowait.messages.headers import decode_headers
from nowait.messages.validation import JSON, Rejected, validate_body, validate_headers, validate_properties
from nowait.worker.events import TaskEvents
from nowait.worker.pools import Runner
from nowait.worker.request import Delivered, Post, Request
from nowait.worker.unsettled import Receipt

log = logging.getLogger("celery.worker.strategy")  # whose line about a task it is


class CelerysConsumer(Protocol):
    """What is needed of Nowait's consumer; see there, and `celery.worker.consumer.Consumer`."""

    app: Celery
    hostname: str
    task_events: TaskEvents
    connection_errors: Any
    task_buckets: Any
    disable_rate_limits: bool
    on_task_message: Any

    @property
    def accept(self) -> Container[str]:
        """The content types that messages may have."""

    @property
    def sender(self) -> str | None:
        """The user that tasks have to come from; None for anybody."""

    @property
    def canvas(self) -> bool:
        """Tasks may name further tasks."""

    def validate(self, message: Message) -> None:
        """Raise Rejected for a message that is not to be run."""

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
        delivered = Delivered(delivery, {}, receipt, self._post)
        try:
            delivered = Delivered(delivery, _headers(delivery), receipt, self._post)
            request = self._request(delivered)
        except Rejected as error:
            self._consumer.reject(delivered, error)
            return
        except Exception as error:
            # One message, whatever it is, is not to keep the others.
            log.exception("a message could not be received")
            self._consumer.reject(delivered, Rejected(f"it could not be received: {type(error).__name__}"))
            return
        if request is None:
            self._consumer.handle(delivered)
            return
        state.task_reserved(request)
        if self._informs:
            self._log(request, delivered.headers)
        request.announce()
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

    def _request(self, delivered: Delivered) -> Request | None:
        """The request of a valid message; None for one that is left to Celery's own way. Raises Rejected."""
        consumer, delivery, headers = self._consumer, delivered.delivery, delivered.headers
        properties, kind = delivery.properties, delivery.content_type
        encoding = properties.get("content_encoding")
        validate_properties(properties, kind, encoding, delivery.size, consumer.sender, consumer.accept)
        if kind != JSON or "task" not in headers:
            consumer.validate(delivered.message(consumer.accept))
            return None
        validate_headers(headers, self._tasks)
        payload = _payload(delivery.body)
        validate_body(payload, consumer.canvas)
        task = self._tasks[headers["task"]]
        return None if self._is_celerys(task, headers) else Request(task, delivered, payload, consumer)

    def _is_celerys(self, task: Any, headers: dict[str, Any]) -> bool:
        """True for what only Celery's own way does: later, seldom, or by a class of the application's."""
        consumer = self._consumer
        return bool(
            headers.get("eta")
            or (not consumer.disable_rate_limits and consumer.task_buckets[task.name])
            or consumer.on_task_message
            or signals.task_received.receivers
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
        raise Rejected("the body cannot be decoded") from error
