"""Stands where Celery's worker expects kombu's consumer of tasks (`celery.app.amqp.AMQP.TaskConsumer`)."""

from collections.abc import Callable
from typing import Any

from kombu import Consumer, Message, Queue

from nowait.worker.intake import Intake


class TaskConsumer:
    """Has an Intake consume the queues of a consumer of kombu's, which has declared them, in its place.

    Args:
        kombus: the consumer; it never consumes.
        intake: what consumes instead.

    Attributes:
        on_message: set by Celery's event loop; no message comes by kombu's consumer, and none is handed to it.
    """

    def __init__(self, kombus: Consumer, intake: Intake) -> None:
        self._kombus = kombus
        self._intake = intake
        self.on_message: Callable[[Message], Any] | None = None

    @property
    def queues(self) -> list[Queue]:
        """What is consumed."""
        return list(self._kombus.queues)

    @property
    def channel(self) -> Any:
        """A channel of Celery's own connection."""
        return self._kombus.channel

    def consuming_from(self, queue: str | Queue) -> bool:
        """True when that queue is consumed."""
        return bool(self._kombus.consuming_from(queue))

    def add_queue(self, queue: Queue) -> None:
        """Declare a queue, for consume()."""
        self._kombus.add_queue(queue)

    def consume(self) -> None:
        """Consume all queues that were added."""
        self._intake.consume(self.queues)

    def cancel_by_queue(self, queue: str) -> None:
        """Consume a queue no more."""
        self._kombus.cancel_by_queue(queue)
        self._intake.cancel(queue)

    def qos(self, prefetch_count: int, apply_global: bool) -> None:
        """Have so many deliveries at hand. Celery's event loop says it first of all: only then may the intake begin."""
        self._intake.start(prefetch_count, apply_global)

    def cancel(self) -> None:
        """The worker ends: begin no more tasks."""
        self._intake.withdraw()

    def close(self) -> None:
        """Celery's connection ends."""
        self._kombus.close()
