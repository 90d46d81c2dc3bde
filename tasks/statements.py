"""Runs a statement within its time, and again where that helps."""

import random
import sys
import time
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any, TypeVar

from pymysql.err import MySQLError
from sqlalchemy import JSON, Compiled, Dialect, Engine, TextClause, TextualSelect
from sqlalchemy.exc import DBAPIError

from nowait.errors import ResultTooLarge
from nowait.rows import encode_columns
from tasks.database import connect, limited
from tasks.driver import LAST, remaining, until
from tasks.result import Result

# Error numbers of the server: https://mariadb.com/kb/en/mariadb-error-code-reference/. After a
# deadlock the whole transaction is rolled back, after a lock wait the statement alone; here they are
# the same. A lock that NOWAIT does not get has a number of its own in MySQL.
REPEATED = {1213, 1205, 3572}
# Why a connection cannot be opened for now: the server is away, lost while it was greeted (both by the
# client), full, or about to stop.
AWAY = {2003, 2006, 2013, 1040, 1053}
# The connection has ended, as one of both knows. What somebody has ended by KILL QUERY, 1317, is to end: it is not run
# again.
LOST = LAST | {2006, 2013}
ENDED = 1094  # there is no connection that could be killed
_GRACE = 0.1  # seconds behind the deadline, at which the database itself ends a statement, that its error is awaited
_PAUSE = 0.05  # seconds before another try, with jitter

Statement = TextClause | TextualSelect
T = TypeVar("T")


class OutOfTime(Exception):
    """The deadline passed before the statement was begun, or could be begun again."""


class QueryFailed(Exception):
    """The database refused. The text has the error's number alone: its own may quote SQL and parameters."""


class ConnectionLost(QueryFailed):
    """The connection was lost, or the database silent, with the statement under way: it may have run."""


def fetch(
    engine: Engine,
    statement: Statement,
    parameters: dict[str, Any],
    *,
    deadline: float,
    repeatable: bool = False,
    row_limit: int = sys.maxsize,
    byte_limit: int = 16 * 1024 * 1024,
) -> bytes:
    """The rows of a statement, as nowait.rows.encode_rows() gives them.

    Args:
        engine, deadline, repeatable: as for run().
        statement: one statement with named parameters.
        parameters: their values.
        row_limit: rows that it may give.
        byte_limit: bytes that they may have together, encoded.

    Raises ResultTooLarge when there are more rows or bytes, which are not read then, and what run() raises.
    """

    def attempt(connection: Any, left: float) -> bytes:
        result = begin(connection, engine.dialect, statement, parameters, left)
        # Encoded as they come, they are still in the processor's cache, and one answer is all that is held.
        encoded: list[bytes] = []
        size = 0
        for columns in result.batches():
            if result.count > row_limit:
                raise ResultTooLarge(row_limit, "rows")
            encoded.append(encode_columns(result.names, columns)[1:-1])
            size += len(encoded[-1]) + 1
            if size > byte_limit:
                raise ResultTooLarge(byte_limit, "bytes")
        return b"[%b]" % b",".join(encoded)

    return run(engine, attempt, deadline=deadline, repeatable=repeatable)


def run(engine: Engine, attempt: Callable[[Any, float], T], *, deadline: float, repeatable: bool = False) -> T:
    """What a statement gives, in as many attempts as it may have.

    Args:
        engine: made by `tasks.database.make_engine`.
        attempt: runs the statement on a connection of `tasks.driver`, which is to be given up after the seconds that it
            gets; pymysql.err.MySQLError is what may be tried again.
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
    failure: Exception | None = None
    with until(deadline + _GRACE):
        while (left := deadline - time.monotonic()) > 0:
            begun = False
            try:
                # Of what must not run twice, it should be known that it has not begun.
                with connect(engine, ping=not repeatable) as connection:
                    begun = True
                    return attempt(connection, left)
            except (DBAPIError, MySQLError) as error:
                failure = error
            number = error_number(failure)
            interrupted = begun and number in LOST
            if not begun:
                # Nothing has run yet: anything may be tried again.
                again = number in AWAY
            elif interrupted:
                again, lost = repeatable and not lost, True
            else:
                again = repeatable and number in REPEATED
            if not again:
                raise (ConnectionLost if interrupted else QueryFailed)(f"error {number} of the database") from failure
            time.sleep(min((_PAUSE if begun else 4 * _PAUSE) * random.uniform(0.5, 1.5), remaining()))
        raise OutOfTime("no time was left to begin the statement") from failure


def error_number(error: Exception) -> Any:
    """The server's number, or PyMySQL's own; None where there is none."""
    return next(iter(error_arguments(error)), None)


def error_arguments(error: Exception) -> tuple[Any, ...]:
    """The number and the text of the database's own error: SQLAlchemy wraps those of the first connection."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return () if original is None else original.args


def begin(
    connection: Any, dialect: Dialect, statement: Statement, parameters: dict[str, Any], time_limit: float | None
) -> Result:
    """Have a connection run a statement.

    The database ends it after `time_limit` seconds; with None, after those that the connection has for each.

    Raises pymysql.err.MySQLError.
    """
    sql, json = written(connection, dialect, statement, parameters)
    *before, last = [sql] if time_limit is None else limited(dialect, sql, time_limit)
    for first in before:
        connection.query(first)
    return Result(connection, last, json)


def written(
    connection: Any, dialect: Dialect, statement: Statement, parameters: dict[str, Any]
) -> tuple[str, Collection[str]]:
    """A statement with its values, and the names of its JSON columns."""
    compiled, json = _compile(statement, dialect)
    return connection.cursor().mogrify(str(compiled), compiled.construct_params(parameters)), json


@lru_cache(maxsize=1024)
def _compile(statement: Statement, dialect: Dialect) -> tuple[Compiled, Collection[str]]:
    """A statement as PyMySQL wants it, and the names of its JSON columns."""
    columns = statement.selected_columns if isinstance(statement, TextualSelect) else ()
    return statement.compile(dialect=dialect), {column.name for column in columns if isinstance(column.type, JSON)}
