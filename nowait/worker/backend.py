"""The result backend of the workers: replies as `rpc://` sends them, surer and for less.

Each reply is confirmed by the broker within a time limit; one that cannot be sent, as it is too
large or no JSON, becomes a failure that says so. A reply carries how long its task ran, `runtime`, in
seconds. Used as `Celery(backend="nowait.worker:Results")`.
"""

import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import amqp
from celery import Celery, Task
from celery.backends.rpc import RPCBackend
from kombu.utils.json import JSONEncoder

from nowait.messages.limits import MAX_REPLY
from nowait.topology import Topology
from nowait.worker.publisher import ConfirmedPublisher, Undelivered

log = logging.getLogger(__name__)


_TIMEOUT = 30.0  # seconds that a reply may take to its queue

_encode = JSONEncoder(allow_nan=False).encode


# Generic for the type checker alone.
class TimedTask(Task):  # type: ignore[type-arg]
    """A task that notes when it began, for the reply."""

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Called by the worker before each run."""
        request: Any = self.request
        request.began = time.perf_counter()


class Results(RPCBackend):
    """Sends each state of a task to the queue that its message names in `reply_to`.

    Args:
        app: the worker's application; its broker is used, and its setting `nowait_topology`, if there is one.
    """

    def __init__(self, app: Celery, *args: Any, **kwargs: Any) -> None:
        super().__init__(app, *args, **kwargs)
        self._app: Any = app
        self._publisher = ConfirmedPublisher(app)
        self._topology: Topology = app.conf.get("nowait_topology", Topology.declared())
        self._background: ThreadPoolExecutor | None = None

    def store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **_: Any
    ) -> Any:
        """Send a state of a task, and its result; returns `result`.

        Never raises because of what the result is, or of the broker: what cannot be told is logged.
        """
        routing_key, correlation_id = self.destination_for(task_id, request)
        if not routing_key:
            return result
        message = amqp.Message(
            encode_reply(self._document(task_id, state, result, traceback, request)),
            content_type="application/json",
            content_encoding="utf-8",
            correlation_id=correlation_id,
            delivery_mode=2 if self.persistent else 1,
            **self._topology.sender_properties(),
        )

        def send() -> None:
            try:
                self._publisher.publish(message, self._topology.replies, routing_key, _TIMEOUT)
            except Undelivered as error:
                log.error("task %s: its state %s was not delivered: %s", task_id, state, error)

        if self._app.current_worker_task is None:
            # The main process of a pool tells of a child that died or was too slow. It serves all
            # others, and must not wait for a broker that takes no messages.
            self._publish_in_background(send)
        else:
            send()
        return result

    def _document(self, task_id: str, state: str, result: Any, traceback: Any, request: Any) -> dict[str, Any]:
        began = getattr(request, "began", None)
        return {
            "task_id": task_id,
            "status": state,
            "result": self.encode_result(result, state),
            "traceback": traceback,
            "children": self.current_task_children(request),
            "runtime": None if began is None else time.perf_counter() - began,
        }

    def _publish_in_background(self, send: Callable[[], None]) -> None:
        if self._background is None:
            self._background = ThreadPoolExecutor(1, thread_name_prefix="results")
        self._background.submit(send)


def encode_reply(document: dict[str, Any]) -> bytes:
    """The body of a reply; that of a failure, when there is no JSON for `document` or it is too long."""
    try:
        body = _encode(document).encode()
    except (TypeError, ValueError, RecursionError) as error:
        return _refusal(document, "ResultNotSerializable", str(error))
    if len(body) > MAX_REPLY:
        return _refusal(document, "ResultTooLarge", f"{len(body)} bytes, {MAX_REPLY} are allowed")
    return body


def _refusal(document: dict[str, Any], kind: str, text: str) -> bytes:
    failure = {"exc_type": kind, "exc_message": [text[:1000]], "exc_module": __name__}
    # The result may be what has no JSON form; everything else is the worker's own.
    refusal = {**document, "status": "FAILURE", "result": failure, "traceback": None, "children": []}
    return json.dumps(refusal).encode()
