"""What the caller of a rejected message is answered, where it looks for its result."""

import logging
from typing import Any, NamedTuple

from celery import Celery, states
from celery.backends.base import DisabledBackend
from celery.backends.rpc import RPCBackend
from kombu import Message

from nowait.messages.validation import NoSuchTask, Rejected, reply_address
from nowait.topology import Topology
from nowait.worker.publisher import ConfirmedPublisher
from nowait.worker.replies import describe_failure, encode_rejection, reply_message

log = logging.getLogger(__name__)

_TIMEOUT = 5.0  # seconds that a reply may take to the broker


class Answer(NamedTuple):
    """A failure, and for whom."""

    reply_to: str
    correlation_id: str
    task_id: str
    failure: dict[str, Any]  # see describe_failure


class Answers:
    """Sends answers as replies, or keeps them in a result backend that keeps results.

    Args:
        app: the worker's application: its result backend decides.
        topology: where replies go to.
        publisher: sends them.
    """

    def __init__(self, app: Celery, topology: Topology, publisher: ConfirmedPublisher) -> None:
        self._app: Any = app
        self._topology = topology
        self._publisher = publisher

    def make(self, message: Message, error: Rejected) -> Answer | None:
        """The answer to a message; None when it names nobody who may be answered."""
        headers: Any = message.headers
        address = reply_address(headers, message.properties, self._topology.server_user)
        if address is None:
            return None
        # Celery's NotRegistered has the name of the task, and makes a sentence of it.
        text = error.task if isinstance(error, NoSuchTask) else str(error)
        return Answer(*address, describe_failure(error.kind, text))

    def send(self, answer: Answer) -> None:
        """Send an answer, within a time limit where it is a reply; one that cannot be sent is logged."""
        try:
            backend = self._app.backend
            if isinstance(backend, (RPCBackend, DisabledBackend)):
                self._reply(answer)
            else:
                failure = backend.exception_to_python(answer.failure)
                backend.store_result(answer.task_id, failure, states.FAILURE)
        except Exception as error:  # Undelivered, or whatever a backend raises
            log.error("a rejected message: its caller was not answered: %s", error)

    def _reply(self, answer: Answer) -> None:
        body = encode_rejection(answer.task_id, answer.failure)
        reply = reply_message(body, answer.correlation_id, self._topology)
        self._publisher.publish(reply, self._topology.replies, answer.reply_to, _TIMEOUT)
