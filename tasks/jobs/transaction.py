"""A job's transaction, which the worker alone ends: whatever the function has done is committed with its success."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from tasks.database import make_transactional_engine
from tasks.jobs.failures import TransactionEnded
from tasks.statements import error_number

# Another host, that was cut off with locks in its hands, keeps them for that long.
_INIT_COMMAND = "SET time_zone = '+00:00', wait_timeout = 120"
_SAVEPOINT = "nowait_job"
_NO_SAVEPOINT = 1305  # the database's error
_MANY = 60.0  # seconds
_LIMIT = "nowait.limit"  # where a connection has its limit, in milliseconds
_KEPT = "nowait.kept"  # what a connection's `info` has in such a block


def make_jobs_engine(url: str) -> Engine:
    """The engine of the jobs' own connections; see `tasks.database.make_transactional_engine`."""
    engine = make_transactional_engine(url, _INIT_COMMAND)
    event.listen(engine, "commit", _refuse)
    event.listen(engine, "rollback", _refuse)
    return engine


@contextmanager
def kept(connection: Connection) -> Iterator[None]:
    """Have a connection's transaction be one from the beginning of the block to its end.

    Args:
        connection: of an engine of make_jobs_engine().

    Raises TransactionEnded where it was ended meanwhile, by a statement that commits, or with a deadlock that the
    function did not pass on.
    """
    connection.exec_driver_sql(f"SAVEPOINT {_SAVEPOINT}")
    connection.info[_KEPT] = True
    try:
        yield
        try:
            connection.exec_driver_sql(f"RELEASE SAVEPOINT {_SAVEPOINT}")
        except DBAPIError as error:
            if error_number(error) == _NO_SAVEPOINT:
                raise TransactionEnded("the job's transaction was ended by one of its statements") from error
            raise
    finally:
        if not connection.invalidated:
            del connection.info[_KEPT]


def limit(connection: Connection, seconds: float) -> None:
    """Have the database itself end each statement of this transaction after so many seconds.

    In whole seconds, where these are many: for most jobs, the limit of the connection's last one is good as it is.
    """
    milliseconds = max(1, round(seconds * 1000)) if seconds < _MANY else math.ceil(seconds) * 1000  # 0 is no limit
    if connection.info.get(_LIMIT) == milliseconds:
        return
    if getattr(connection.dialect, "is_mariadb", False):
        connection.exec_driver_sql(f"SET SESSION max_statement_time = {milliseconds / 1000:.3f}")
    else:
        connection.exec_driver_sql(f"SET SESSION max_execution_time = {milliseconds}")
    connection.info[_LIMIT] = milliseconds


def _refuse(connection: Connection) -> None:
    if not connection.invalidated and _KEPT in connection.info:
        raise TransactionEnded("a job's function must neither commit nor roll back")
