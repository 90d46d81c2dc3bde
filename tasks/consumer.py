"""What a worker does with each message that arrives: checked first, run by Celery then.

A message that is refused goes to the queue DEAD with the reason, and is of no harm to the next. Used
as Celery's `worker_consumer`.
"""

import logging
from collections.abc import Callable
from typing import Any

import amqp
from celery.worker.consumer import Consumer
from kombu import Message, Queue, compression

from tasks.channels import Channels, Undelivered
from tasks.envelope import Refused, check_body, check_envelope

log = logging.getLogger(__name__)

DEAD = "queries.dead"
_TIMEOUT = 5.0  # seconds
_LOUD = 10  # refusals that are logged as warnings; a flood of them is not to fill a disk


class StrictConsumer(Consumer):
    """Celery's consumer behind a check of each message."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._dead_letters = Channels(self.app)
        self._refused = 0
        # kombu inflates a message before anybody can look at its size.
        for content_type in compression.encoders():
            compression.register(_refuse, _refuse, content_type)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], None]:
        """The function that gets each message."""
        handle = super().create_task_handler(*args, **kwargs)
        connection: Any = self.connection
        Queue(DEAD, channel=connection.default_channel).queue_declare()

        def receive(message: Message) -> None:
            try:
                _check(message, self.app.tasks)
            except Refused as error:
                self._bury(message, str(error))
            else:
                handle(message)

        return receive

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Called for a message that kombu could not read, in place of receive(); Celery drops it here."""
        self._bury(message, f"it cannot be read: {type(exc).__name__}")

    def _bury(self, message: Message, reason: str) -> None:
        """Put a message into the dead-letter queue, and take it off its own."""
        self._refused += 1
        log.log(logging.WARNING if self._refused <= _LOUD else logging.DEBUG, "message refused: %s", reason)
        body = message.body
        queue = str((message.delivery_info or {}).get("routing_key", ""))[:255]
        letter = amqp.Message(
            body if isinstance(body, (bytes, str)) else b"",
            content_type="application/octet-stream",
            delivery_mode=2,
            application_headers={"x-refused": reason, "x-queue": queue},
        )
        try:
            self._dead_letters.publish(letter, DEAD, _TIMEOUT)
        except Undelivered as error:
            log.error("a refused message could not be put into %s, and goes back: %s", DEAD, error)
            message.requeue()
        else:
            message.ack()


def _check(message: Message, tasks: Any) -> None:
    """Raise Refused for a message that is not to be run."""
    body = message.body
    size = len(body) if isinstance(body, (bytes, str, memoryview)) else 0
    check_envelope(message.headers, message.properties, message.content_type, message.content_encoding, size, tasks)
    try:
        decoded = message.payload
    except Exception as error:  # json's, kombu's own, RecursionError
        raise Refused("the body is not JSON") from error
    check_body(decoded)


def _refuse(_content: Any) -> Any:
    raise Refused("compressed content is not allowed")
