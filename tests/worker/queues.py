"""The queues of the workers that are compared, and of their callers."""

from kombu import Queue

QUEUE = "promises"
DEAD = "promises.dead"  # what tasks and workers of QUEUE reject
IMPORTANT = "promises.important"  # has priorities; no worker consumes it from the start
RAW = "promises.raw"  # of a consumer of the application's own
EVENTS = "events"  # all that workers tell of


def task_queues(kind: str = "classic") -> list[Queue]:
    """The queues of tasks: QUEUE of that type, which has dead letters, and IMPORTANT."""
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": DEAD}
    return [
        Queue(QUEUE, queue_arguments={"x-queue-type": kind, **dead}),
        Queue(IMPORTANT, queue_arguments={"x-max-priority": 10}),
    ]
