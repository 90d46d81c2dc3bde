"""A stock Celery worker with the task that returns its argument: `celery -A worker worker -P threads -c 8`.

RESULTS is the result backend, rpc:// unless it is given.
"""

import os

from celery import Celery

app = Celery("peer", broker=os.environ["NOWAIT_BROKER_URL"], backend=os.environ.get("RESULTS", "rpc://"))
app.conf.update(task_default_queue=os.environ["QUEUE"], broker_connection_retry_on_startup=True)


@app.task(name="echo")
def echo(number: int) -> int:
    """What it was given."""
    return number
