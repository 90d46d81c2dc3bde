"""A worker that answers the queries of users after 0.1 seconds each: `celery -A tests.faults.slow_tasks worker`.

NOWAIT_TEST_RUNS names the file to which each run adds a line: how many seconds behind the end of its time it began,
which is less than 0 for one in time.
"""

import os
import time
from pathlib import Path
from typing import Any

from celery import Celery
from kombu import Queue

from nowait.deadline import Deadline
from nowait.worker.backend import TimedTask

RUN = 0.1  # seconds
app = Celery("tests", broker=os.environ.get("NOWAIT_BROKER_URL", "memory://"), backend="nowait.worker:Results")
app.conf.update(
    worker_consumer="nowait.worker:Consumer",
    task_default_queue="queries",
    task_queues=[Queue("queries")],
    worker_prefetch_multiplier=1,
)


# Of this application alone: others in the process have a task of that name.
@app.task(name="task.query_users", base=TimedTask, bind=True, shared=False)
def query_users(self: TimedTask, flag: int, delay: float) -> list[Any]:
    """No rows."""
    deadline = Deadline.of_expires(self.request.expires)
    assert deadline is not None
    with Path(os.environ["NOWAIT_TEST_RUNS"]).open("a") as file:
        file.write(f"{time.monotonic() - deadline.at:.3f}\n")
    time.sleep(RUN)
    return []
