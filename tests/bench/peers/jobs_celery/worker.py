"""A stock Celery worker whose results are in the database: `celery -A worker worker -c 2`."""

import os

from celery import Celery

_database = os.environ["NOWAIT_DATABASE_URL"].replace("mysql://", "mysql+pymysql://", 1)
app = Celery("peer", broker=os.environ["NOWAIT_BROKER_URL"], backend=f"db+{_database}")
app.conf.update(task_default_queue=os.environ["QUEUE"], broker_connection_retry_on_startup=True)


@app.task(name="nothing")
def nothing() -> int:
    """Returns."""
    return 1
