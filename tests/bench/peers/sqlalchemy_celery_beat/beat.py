"""Celery whose schedules are in a database: `celery -A beat beat`."""

import os

from celery import Celery

DATABASE = os.environ["NOWAIT_DATABASE_URL"].replace("mysql://", "mysql+pymysql://", 1)
app = Celery("peer", broker=os.environ["NOWAIT_BROKER_URL"])
app.conf.update(
    beat_dburi=DATABASE,
    beat_scheduler="sqlalchemy_celery_beat.schedulers:DatabaseScheduler",
    task_default_queue=os.environ["QUEUE"],
)
