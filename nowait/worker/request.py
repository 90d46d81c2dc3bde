"""A task that was delivered, from its arrival to its end."""

import logging
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from billiard.einfo import ExceptionInfo
from celery.exceptions import WorkerLostError, WorkerShutdown, WorkerTerminate
from celery.utils.time import maybe_make_aware
from celery.worker import state
from celery.worker.request import Request as CelerysRequest
from kombu import Message

from nowait.amqp.methods import Delivery
from nowait.deadline import Deadline, parse_moment
from nowait.messages.outbound import OutboundMessage
from nowait.worker.events import TaskEvents
from nowait.worker.outbox import outbox
from nowait.worker.unsettled import Outcome, Receipt, Reply, Settlement

log = logging.getLogger(__name__)

Post = Callable[[Reply | Settlement], None]


class Delivered(NamedTuple):
    """A message as it was delivered, and what is owed for it."""

    delivery: Delivery
    headers: dict[str, Any]
    receipt: Receipt
    post: Post

    def properties(self) -> dict[str, Any]:
        """The properties as kombu gives them."""
        properties = {**self.delivery.properties, "application_headers": self.headers}
        properties.pop("headers", None)
        return properties

    def message(self, accept: Any) -> Message:
        """The same as a message of kombu's, which Celery can settle.

        Args:
            accept: the content types that it may have.
        """
        delivery, source = self.delivery, self.delivery.source()
        message: Any = Message
        made: Message = message(
            body=delivery.body,
            delivery_tag=self.receipt.tag,
            content_type=delivery.content_type,
            content_encoding=delivery.properties.get("content_encoding"),
            delivery_info={**source._asdict(), "delivery_tag": self.receipt.tag},
            properties=self.properties(),
            headers=self.headers,
            accept=accept,
            channel=_Channel(self),
        )
        return made

    def settle(self, outcome: Outcome, after: Reply | None = None) -> None:
        """Acknowledge or reject it; see Settlement."""
        self.post(Settlement(self.receipt, outcome, after))


class _Channel:
    """Stands where kombu's message expects the channel that it came by."""

    no_ack_consumers = None

    def __init__(self, delivered: Delivered) -> None:
        self._delivered = delivered

    def basic_ack(self, delivery_tag: int, multiple: bool = False) -> None:
        self._delivered.settle("acknowledge")

    def basic_reject(self, delivery_tag: int, requeue: bool = False) -> None:
        self._delivered.settle("requeue" if requeue else "drop")


class Request:
    """Runs a task by Celery's own tracer, and settles its delivery as Celery does.

    Stands where Celery looks for its requests (`celery.worker.state`): what is not here, Celery's own Request of the
    same message answers.

    Args:
        task: is run, a `celery.Task`.
        delivered: its message, which is valid.
        payload: the body, decoded: args, kwargs, and further tasks.
        consumer: Celery's.
    """

    __slots__ = (
        "id", "name", "task", "acknowledged", "time_start", "worker_pid", "eventer", "_delivered", "_payload",
        "_consumer", "_events", "_deadline", "_last_reply", "_celerys", "__weakref__",
    )  # fmt: skip

    eventer: Any  # Celery sets it, whenever its own connection has been made

    def __init__(self, task: Any, delivered: Delivered, payload: Any, consumer: Any) -> None:
        headers = delivered.headers
        self.id: str = headers["id"]
        self.name: str = headers.get("shadow") or headers["task"]
        self.task = task
        self.acknowledged = False
        self.time_start: float | None = None
        self.worker_pid: int | None = None
        self._delivered = delivered
        self._payload = payload
        self._consumer = consumer
        self._events: TaskEvents = consumer.task_events
        self._deadline = Deadline.of_expires(headers.get("expires"))
        self._last_reply: Reply | None = None
        self._celerys: Any = None

    def __repr__(self) -> str:
        return f"<Request {self.name}[{self.id}]>"

    @property
    def receipt(self) -> Receipt:
        """What is owed for its delivery."""
        return self._delivered.receipt

    def announce(self) -> None:
        """Send the event of its arrival, if it will run."""
        if not self._is_watched or self._may_be_over():
            return
        headers = self._delivered.headers
        expires = headers.get("expires")
        self._send_event(
            "task-received",
            name=self.name,
            args=headers.get("argsrepr", ""),
            kwargs=headers.get("kwargsrepr", ""),
            root_id=headers.get("root_id"),
            parent_id=headers.get("parent_id"),
            retries=headers.get("retries", 0),
            eta=None,
            expires=expires and maybe_make_aware(parse_moment(expires), self._consumer.app.conf.timezone).isoformat(),
        )

    def send(self, message: OutboundMessage) -> None:
        """Send a reply of this task's, with all others of the moment."""
        self._last_reply = Reply(message)
        self._delivered.post(self._last_reply)

    def run(self) -> None:
        """Run the task. Raises only what is to end the worker."""
        token = outbox.set(self)
        try:
            if self._may_be_over() and self._celerys_request().revoked():
                state.task_ready(self)
                return
            self._accept()
            try:
                traced = self.task.__trace__(self.id, *self._payload[:2], self._context())
            except (WorkerShutdown, WorkerTerminate):
                state.task_ready(self)
                raise
            except BaseException as error:
                self._fail(_lost(error), stored=False)
            else:
                if traced.info is None:
                    self._succeed(traced)
                else:
                    self._fail(traced.retval, stored=True)
        except Exception:  # of a result backend
            log.exception("task %s[%s] could not be ended", self.name, self.id)
            state.task_ready(self)
            # Once more, and not for ever.
            self._settle("drop" if self._delivered.delivery.source().redelivered else "requeue")
        finally:
            outbox.reset(token)

    def _may_be_over(self) -> bool:
        """True when Celery is to look whether it is revoked or has expired."""
        late = self._deadline is not None and not self._deadline.remaining()
        stamped = state.revoked_stamps and self._delivered.headers.get("stamped_headers")
        return late or self.id in state.revoked or bool(stamped)

    def _accept(self) -> None:
        self.time_start = time.time()
        self.worker_pid = os.getpid()
        state.requests[self.id] = self
        state.active_requests.add(self)
        state.total_count[self.name] += 1
        state.all_total_count[0] += 1
        if not self.task.acks_late:
            self._settle("acknowledge")
        self._send_event("task-started")

    def _succeed(self, traced: Any) -> None:
        late = self.task.acks_late
        state.task_ready(self, successful=late)
        if late:
            self._settle("acknowledge")
        self._send_event("task-succeeded", result=traced.retstr, runtime=traced.runtime)

    def _fail(self, einfo: ExceptionInfo, stored: bool) -> None:
        """What Celery does about an exception, Retry, Ignore and Reject included.

        Args:
            einfo: the exception.
            stored: it is the task's result already.
        """
        state.task_ready(self)
        self._celerys_request().on_failure(einfo, return_ok=stored)

    @property
    def _is_watched(self) -> bool:
        """True when events of it are to be sent."""
        return self._events.enabled and bool(self.task.send_events)

    def _send_event(self, kind: str, **fields: Any) -> None:
        if self._is_watched:
            self._events.send(kind, uuid=self.id, **fields)

    def _settle(self, outcome: Outcome) -> None:
        if not self.acknowledged:
            self.acknowledged = True
            # A reply is to be safe before its task is forgotten.
            self._delivered.settle(outcome, self._last_reply)

    def _context(self) -> dict[str, Any]:
        """What becomes `Task.request`."""
        delivered = self._delivered
        source, properties = delivered.delivery.source(), delivered.properties()
        args, kwargs, embed = self._payload
        return {
            **delivered.headers,
            "properties": properties,
            "reply_to": properties.get("reply_to"),
            "correlation_id": properties.get("correlation_id"),
            "hostname": self._consumer.hostname,
            "delivery_info": {
                "exchange": source.exchange,
                "routing_key": source.routing_key,
                "priority": properties.get("priority"),
                "redelivered": source.redelivered,
            },
            "args": args,
            "kwargs": kwargs,
            "is_eager": False,
            **embed,
        }

    def _celerys_request(self) -> Any:
        """Celery's own Request of the same message."""
        if self._celerys is None:
            consumer: Any = self._consumer
            self._celerys = CelerysRequest(
                self._delivered.message(consumer.accept),
                on_ack=lambda *_: self._settle("acknowledge"),
                on_reject=lambda _log, _errors, requeue: self._settle("requeue" if requeue else "drop"),
                hostname=consumer.hostname,
                eventer=self._events,
                app=consumer.app,
                connection_errors=consumer.connection_errors,
                task=self.task,
            )
        self._celerys.acknowledged = self.acknowledged
        self._celerys.time_start = self.time_start
        self._celerys.worker_pid = self.worker_pid
        return self._celerys

    def __getattr__(self, name: str) -> Any:
        return getattr(self._celerys_request(), name)


def _lost(error: BaseException) -> ExceptionInfo:
    """What becomes of a task that raised what Celery's tracer does not catch, such as SystemExit."""
    if isinstance(error, Exception):
        return ExceptionInfo()
    try:
        raise WorkerLostError(repr(error)) from error
    except WorkerLostError:
        return ExceptionInfo()
