"""Whether the database has the schema of jobs that this worker needs."""

import time

from pymysql.err import MySQLError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from nowait.jobs import schema
from tasks.database import transaction
from tasks.driver import until
from tasks.statements import error_number

_TIMEOUT = 5.0  # seconds


def shortcoming(engine: Engine) -> str | None:
    """What is wrong with it, in one line for people, and None when nothing is. Never raises because of the database."""
    try:
        with until(time.monotonic() + _TIMEOUT), transaction(engine) as connection:
            connection.detach()  # and so closed: processes that are forked later do not inherit it
            revision = connection.execute(schema.installed()).scalar()
    except (DBAPIError, MySQLError) as error:
        number = error_number(error)
        return schema.refusal(number) or f"their schema could not be read: error {number} of the database"
    return schema.shortcoming(revision)
