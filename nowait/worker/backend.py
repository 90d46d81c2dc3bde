"""The result backend of the workers: replies as `rpc://` sends them, surer and for less.

Each reply is confirmed by the broker within a time limit; one that cannot be sent, as it is too
large or no JSON, becomes a failure that says so. A reply carries the name of its worker, `worker`,
and that of a TimedTask how long it ran, `runtime`, in seconds, and when it ended, `ended`, in
seconds since the epoch. Used as `Celery(backend="nowait.worker:Results")`.
"""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery import Celery, Task
from celery.backends.rpc import RPCBackend

from nowait.amqp.properties import encode_short_string
from nowait.broker import require_rabbitmq
from nowait.messages.outbound import OutboundMessage
from nowait.topology import Topology
from nowait.worker.outbox import outbox
from nowait.worker.publisher import ConfirmedPublisher, Undelivered
from nowait.worker.replies import ReplyProperties, describe_exception, encode_reply, reply_message

log = logging.getLogger(__name__)

_TIMEOUT = 30.0  # seconds that a reply may take to its queue


# Generic for the type checker alone.
class TimedTask(Task):  # type: ignore[type-arg]
    """A task that notes when it began, for the reply."""

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Called by the worker before each run."""
        # What `request` gives, for half of what it takes.
        request: Any = self.request_stack.top
        request.began = time.perf_counter()


class Results(RPCBackend):
    """Sends each state of a task to the queue that its message names in `reply_to`.

    Of an exception it sends the type and, unless it is a database's, the text; with the setting
    `nowait_reply_tracebacks`, all that `rpc://` sends.

    Args:
        app: the worker's application; its broker is used, and its setting `nowait_topology`, if there is one.

    Raises ValueError where the broker is neither RabbitMQ nor memory://, as in tests.
    """

    def __init__(self, app: Celery, *args: Any, **kwargs: Any) -> None:
        require_rabbitmq(app, besides=["memory"])
        # Replies are JSON, whatever serializer the application has for results.
        super().__init__(app, *args, **{**kwargs, "serializer": "json"})
        self._app: Any = app
        self._publisher = ConfirmedPublisher(app)
        self._topology: Topology = app.conf.get("nowait_topology", Topology.declared())
        self._properties = ReplyProperties(self._topology, self.persistent)
        self._tracebacks: bool = app.conf.get("nowait_reply_tracebacks", False)
        self._background = ThreadPoolExecutor(1, thread_name_prefix="results")

    def store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **_: Any
    ) -> Any:
        """Send a state of a task, and its result; returns `result`.

        Never raises because of what the result is, or of the broker: what cannot be sent is logged.
        """
        routing_key, correlation_id = self.destination_for(task_id, request)
        if not routing_key:
            return result
        body = encode_reply(self._document(task_id, state, result, traceback, request))
        box = outbox.get()
        if box is not None:
            try:
                encode_short_string(routing_key)
                properties = self._properties.encoded(correlation_id, body)
            except ValueError as error:
                log.error("task %s: result (state %s) not delivered: %s", task_id, state, error)
            else:
                box.send(OutboundMessage(self._topology.replies, routing_key, properties, body.text))
            return result
        message = reply_message(body, correlation_id, self._topology, self.persistent)

        def send() -> None:
            try:
                self._publisher.publish(message, self._topology.replies, routing_key, _TIMEOUT)
            except Undelivered as error:
                log.error("task %s: result (state %s) not delivered: %s", task_id, state, error)

        if self._app.current_worker_task is None:
            # The main process of a pool reports a child that died or was too slow. It serves all
            # others, and must not wait for a broker that takes no messages.
            self._background.submit(send)
        else:
            send()
        return result

    def _document(self, task_id: str, state: str, result: Any, traceback: Any, request: Any) -> dict[str, Any]:
        described: Any = self.encode_result(result, state)
        if not self._tracebacks and state in self.EXCEPTION_STATES and isinstance(result, BaseException):
            described = describe_exception(result, described)
        began = getattr(request, "began", None)
        return {
            "task_id": task_id,
            "status": state,
            "result": described,
            "traceback": traceback if self._tracebacks else None,
            "children": self.current_task_children(request),
            "runtime": None if began is None else time.perf_counter() - began,
            "worker": getattr(request, "hostname", None),
            "ended": None if began is None else time.time(),
        }
