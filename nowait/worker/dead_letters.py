"""Rejected messages: their callers are answered, and they go to the dead-letter queue with the reason."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import amqp
from amqp.serialization import dumps
from celery import Celery
from kombu import Connection, Message, Queue

from nowait.messages.limits import MAX_SHORT_STRING, MAX_TASK_BODY, MAX_TASK_HEADERS
from nowait.messages.validation import Rejected
from nowait.topology import Topology
from nowait.worker.answers import Answer, Answers
from nowait.worker.publisher import ConfirmedPublisher, Undelivered

log = logging.getLogger(__name__)

_TIMEOUT = 5.0  # seconds that a dead letter may take to the broker
_REQUEUE_DELAY = 10.0  # seconds before a message that could not be dead-lettered is given back
_MAX_WAIT = 60.0  # seconds after which one is given back untried: the broker closes the channel after 30 minutes
_MAX_HELD = 100  # messages that are waiting without taking the place of one to run

# A letter has its own; an expiration would end it.
_NOT_KEPT = ("application_headers", "user_id", "expiration", "delivery_mode")
# RabbitMQ would route a letter to these queues, too: to its own, for ever.
_ROUTING_HEADERS = ("CC", "BCC")


class Prefetch(Protocol):
    """How many messages a worker has at hand: kombu's QoS, or whoever stands for it."""

    def increment_eventually(self) -> Any:
        """One more."""

    def decrement_eventually(self) -> Any:
        """One less."""


class Rejection(NamedTuple):
    """A rejected message."""

    message: Message  # unacknowledged; without its body
    letter: amqp.Message  # what goes to the dead-letter queue
    answer: Answer | None  # to its caller; None when nobody is to be answered
    qos: Prefetch | None  # counts it as held, with room for another one; None when there are too many
    since: float  # when it was rejected, by time.monotonic()


class DeadLetters:
    """Answers and dead-letters rejected messages on a thread of its own, which begins with the first.

    A message is acknowledged once the broker has its dead letter. When the broker does not take it,
    the message is given back after a while, so that it neither gets lost nor comes back at once.

    Args:
        app: the worker's application; its broker and its result backend are used.
        topology: where to.
        call_soon: runs a function on the thread that receives, with its arguments.
        errors: what an acknowledgement may raise.
    """

    def __init__(
        self, app: Celery, topology: Topology, call_soon: Callable[..., Any], errors: tuple[type[BaseException], ...]
    ) -> None:
        self._topology = topology
        self._call_soon = call_soon
        self._errors = errors
        self._publisher = ConfirmedPublisher(app)
        self._answers = Answers(app, topology, self._publisher)
        self._rejections: queue.SimpleQueue[Rejection] = queue.SimpleQueue()
        self._held = 0
        self._thread: threading.Thread | None = None

    def declare(self, connection: Connection) -> None:
        """Declare the dead-letter queue; one that is there already stays as it is."""
        name = self._topology.dead_letter_queue
        # The broker closes the channel of a declaration that it refuses.
        channel: Any = connection.channel()
        try:
            Queue(name, channel=channel, queue_arguments=self._topology.dead_letter_arguments).queue_declare()
            channel.close()
        except amqp.exceptions.ChannelError as error:
            log.warning("queue %s: not declared, and perhaps without a bound: %s", name, error)

    def add(self, message: Message, error: Rejected, qos: Prefetch) -> None:
        """Take charge of a rejected message. Called on the thread that receives, and returns at once."""
        held = self._held < _MAX_HELD
        if held:
            self._held += 1
            # One more to fetch, as Celery does for tasks with an ETA: good ones are not to wait behind it.
            qos.increment_eventually()
        letter = dead_letter(message, str(error), self._topology)
        answer = self._answers.make(message, error)
        rejection = Rejection(message, letter, answer, qos if held else None, time.monotonic())
        message.body = None  # it may be large, and have to wait
        self._rejections.put(rejection)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="dead-letters", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            rejection = self._rejections.get()
            delivered = False
            if time.monotonic() - rejection.since < _MAX_WAIT:
                delivered = self._deliver(rejection)
                if not delivered:
                    time.sleep(_REQUEUE_DELAY)
            self._call_soon(self._finish, rejection, delivered)

    def _deliver(self, rejection: Rejection) -> bool:
        if rejection.answer is not None:
            self._answers.send(rejection.answer)
        try:
            self._publisher.publish(
                rejection.letter, self._topology.dead_letters, self._topology.dead_letter_queue, _TIMEOUT
            )
        except Undelivered as error:
            log.error("a rejected message could not be dead-lettered, and is requeued: %s", error)
            return False
        return True

    def _finish(self, rejection: Rejection, delivered: bool) -> None:
        """On the thread that receives: take the message off its queue, or give it back."""
        if rejection.qos is not None:
            self._held -= 1
            rejection.qos.decrement_eventually()
        if delivered:
            rejection.message.ack_log_error(log, self._errors)
        else:
            rejection.message.reject_log_error(log, self._errors, requeue=True)


def dead_letter(message: Message, reason: str, topology: Topology) -> amqp.Message:
    """The dead letter of a message: its body, up to the limit of a task's, its headers and its properties.

    The headers `x-rejected` and `x-queue` are the reason and the queue that it came from, `x-user-id` who sent it.
    """
    properties: Mapping[str, Any] = message.properties or {}
    body = message.body[:MAX_TASK_BODY] if isinstance(message.body, (bytes, str)) else b""
    notes = {
        "x-rejected": reason,
        "x-queue": str((message.delivery_info or {}).get("routing_key", ""))[:255],
        **({"x-user-id": properties["user_id"]} if properties.get("user_id") else {}),
    }
    return amqp.Message(
        body if isinstance(body, bytes) else _encoded(body, message.content_encoding or "utf-8"),
        application_headers={**_usable(message.headers), **notes},
        delivery_mode=2,
        **{name: _short(value) for name, value in properties.items() if name not in _NOT_KEPT},
        **topology.sender_properties(),
    )


def _encoded(body: str, encoding: str) -> bytes:
    """A body that py-amqp has decoded, as it came; in UTF-8 where it cannot be encoded so again."""
    try:
        return body.encode(encoding, "replace")
    except (LookupError, ValueError):  # idna, for one, knows no "replace"
        return body.encode("utf-8", "replace")


def _short(value: Any) -> Any:
    """A property, cut where AMQP could not have it: bytes that are no UTF-8 have become three times as many."""
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "replace")[:MAX_SHORT_STRING].decode("utf-8", "ignore")


def _usable(headers: Any) -> dict[str, Any]:
    """The headers that a letter may have; a note, where they cannot be sent again or are too large."""
    try:
        kept = {name: value for name, value in headers.items() if name not in _ROUTING_HEADERS}
        size = len(dumps("F", (kept,)))
    except Exception as error:  # py-amqp's own, struct's, RecursionError
        return {"x-headers": f"dropped: {type(error).__name__}"}
    return kept if size <= MAX_TASK_HEADERS else {"x-headers": f"dropped: {size} bytes"}
