"""Huey over tables of the database: `huey_consumer worker.huey -k thread -w 8`."""

import os

from huey.contrib.sql_huey import SqlHuey

huey = SqlHuey(database=os.environ["NOWAIT_DATABASE_URL"])


@huey.task()
def nothing() -> int:
    """Returns."""
    return 1
