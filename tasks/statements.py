"""Runs a statement within its time, and again where that helps."""

import random
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Executable
from sqlalchemy.exc import DBAPIError

from nowait.errors import ResultTooLarge
from tasks.database import connect
from tasks.driver import remaining, until

# Error numbers of the server: https://mariadb.com/kb/en/mariadb-error-code-reference/. After a
# deadlock the whole transaction is rolled back, after a lock wait the statement alone; here they are
# the same. A lock that NOWAIT does not get has a number of its own in MySQL.
_REPEATED = {1213, 1205, 3572}
# Why a connection cannot be opened for now: the server is away, lost while it was greeted (both by the
# client), full, or about to stop.
_AWAY = {2003, 2006, 2013, 1040, 1053}
_GRACE = 0.1  # seconds behind the deadline, at which the database itself ends a statement, that its error is awaited
_PAUSE = 0.05  # seconds before another try, with jitter
_BATCH = 200  # rows that are read at a time


T = TypeVar("T")


class OutOfTime(Exception):
    """The deadline passed before the statement was begun, or could be begun again."""


class QueryFailed(Exception):
    """The database refused. The text has the error's number alone: its own may quote SQL and parameters."""


class ConnectionLost(QueryFailed):
    """The connection was lost, or the database silent, with the statement under way: it may have run."""


def fetch(
    engine: Engine,
    statement: Executable,
    parameters: dict[str, Any],
    *,
    deadline: float,
    repeatable: bool = False,
    row_limit: int = sys.maxsize,
    byte_limit: int = 16 * 1024 * 1024,
) -> list[dict[str, Any]]:
    """The rows of a statement, column name to database value.

    Args:
        engine, deadline, repeatable: as for run().
        statement: one statement with named parameters.
        parameters: their values.
        row_limit: rows that it may give.
        byte_limit: bytes that its texts may have together.

    Raises ResultTooLarge when there are more rows or bytes, which are not read then, and what run() raises.
    """

    def attempt(connection: Connection, left: float) -> list[dict[str, Any]]:
        return _fetch(connection, statement, parameters, left, row_limit, byte_limit)

    return run(engine, attempt, deadline=deadline, repeatable=repeatable)


def run(
    engine: Engine, attempt: Callable[[Connection, float], T], *, deadline: float, repeatable: bool = False
) -> T:
    """What a statement gives, in as many attempts as it may have.

    Args:
        engine: made by `tasks.database.make_engine`.
        attempt: runs the statement on a connection, which is to be given up after the seconds that it gets; DBAPIError
            is what may be tried again.
        deadline: when the database is to give up, by time.monotonic(); one that is silent is waited for
            0.1 s longer. Until then a database that cannot be reached is tried again.
        repeatable: the statement may run twice: it is tried again after a deadlock or a lock wait
            until the deadline, and once after a lost connection.

    Raises:
        OutOfTime: no time is left to begin.
        ConnectionLost: the statement may have run.
        QueryFailed: what else the database, or the way to it, answered.
    """
    lost = False
    failure: DBAPIError | None = None
    with until(deadline + _GRACE):
        while (left := deadline - time.monotonic()) > 0:
            begun, done = False, False
            try:
                with connect(engine) as connection:
                    begun = True
                    result = attempt(connection, left)
                    done = True
            except DBAPIError as error:
                failure = error
            # Also when the connection was lost behind it, as it was given back.
            if done:
                return result
            assert failure is not None
            # The server's number, or PyMySQL's own.
            number = failure.orig.args[0] if failure.orig is not None and failure.orig.args else None
            interrupted = begun and failure.connection_invalidated
            if not begun:
                # Nothing has run yet: anything may be tried again.
                again = number in _AWAY
            elif interrupted:
                again, lost = repeatable and not lost, True
            else:
                again = repeatable and number in _REPEATED
            if not again:
                raise (ConnectionLost if interrupted else QueryFailed)(f"error {number} of the database") from failure
            time.sleep(min((_PAUSE if begun else 4 * _PAUSE) * random.uniform(0.5, 1.5), remaining()))
        raise OutOfTime("no time was left to begin the statement") from failure


def _fetch(
    connection: Connection,
    statement: Executable,
    parameters: dict[str, Any],
    time_limit: float,
    row_limit: int,
    byte_limit: int,
) -> list[dict[str, Any]]:
    options = {"time_limit": time_limit, "stream_results": True, "max_row_buffer": _BATCH}
    raw: Any = connection.connection.driver_connection
    rows: list[dict[str, Any]] = []
    size = 0
    try:
        result = connection.execute(statement, parameters, execution_options=options)
        names = tuple(result.keys())
        for batch in result.partitions(_BATCH):
            rows += [dict(zip(names, row)) for row in batch]
            size += sum(len(value) for row in batch for value in row if isinstance(value, (str, bytes)))
            if len(rows) > row_limit:
                raise ResultTooLarge(row_limit, "rows")
            if size > byte_limit:
                raise ResultTooLarge(byte_limit, "bytes")
    except BaseException:
        # PyMySQL would read a result to its end before it lets go of it.
        if raw._result is not None and raw._result.unbuffered_active:
            connection.invalidate()
        raise
    return rows
