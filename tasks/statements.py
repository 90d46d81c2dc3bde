"""Runs a statement within its time, and again where that helps."""

import random
import time
from typing import Any

from sqlalchemy import CursorResult, Engine, Executable
from sqlalchemy.exc import DBAPIError

from tasks.database import abandon

# Error numbers of the server: https://mariadb.com/kb/en/mariadb-error-code-reference/. After a
# deadlock the whole transaction is rolled back, after a lock wait the statement alone; here they are
# the same.
_DEADLOCK, _LOCK_WAIT = 1213, 1205
# Why a connection cannot be opened for now: the server is away, lost while it was greeted (both by the
# client), full, or about to stop.
_AWAY = {2003, 2013, 1040, 1053}
_PAUSE = 0.05  # seconds before another try, with jitter
_BATCH = 200  # rows that are read at a time


class OutOfTime(Exception):
    """The deadline passed before the statement was begun."""


class TooLarge(Exception):
    """There are more rows, or bytes, than a statement may give; nothing of it is kept."""


def fetch(
    engine: Engine,
    statement: Executable,
    parameters: dict[str, Any],
    *,
    deadline: float | None = None,
    repeatable: bool = False,
    row_limit: int | None = None,
    byte_limit: int = 16 * 1024 * 1024,
) -> list[dict[str, Any]]:
    """The rows of a statement, column name to database value.

    Args:
        engine: made by `tasks.database.make_engine`.
        statement: one statement with named parameters.
        parameters: their values.
        deadline: when the database is to give up, by time.monotonic(); None for never, and for no
            second try but the one below. Until then a database that cannot be reached is tried again.
        repeatable: the statement may run twice: it is tried again after a deadlock or a lock wait
            until the deadline, and once after a lost connection.
        row_limit: rows that it may give; None for any number.
        byte_limit: bytes that its texts may have together.

    Raises:
        OutOfTime: no time is left to begin.
        TooLarge: there are more rows or bytes; they are not read.
        DBAPIError: what the database, or the way to it, answered.
    """
    fresh = False
    while True:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise OutOfTime("no time was left to begin the statement")
        try:
            connection = engine.connect()
        except DBAPIError as error:
            # Nothing has run yet: anything may be tried again.
            if _number(error) not in _AWAY or deadline is None:
                raise
            _pause(4 * _PAUSE)
            continue
        try:
            with connection:
                options = {"time_limit": left, "stream_results": True, "max_row_buffer": _BATCH}
                result = connection.execution_options(**options).execute(statement, parameters)
                raw = connection.connection.driver_connection
                try:
                    return _read(result, row_limit, byte_limit)
                except BaseException:
                    abandon(connection, raw)
                    raise
        except DBAPIError as error:
            if not repeatable:
                raise
            if error.connection_invalidated and not fresh:
                fresh = True
            elif _number(error) not in (_DEADLOCK, _LOCK_WAIT) or deadline is None:
                raise
            _pause(_PAUSE)


def _number(error: DBAPIError) -> Any:
    """The number of an error, of the server's or PyMySQL's own; None when it has none."""
    return error.orig.args[0] if error.orig is not None and error.orig.args else None


def _pause(seconds: float) -> None:
    time.sleep(seconds * random.uniform(0.5, 1.5))


def _read(result: CursorResult[Any], row_limit: int | None, byte_limit: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    size = 0
    for batch in result.mappings().partitions(_BATCH):
        for row in batch:
            rows.append(dict(row))
            size += sum(len(value) for value in row.values() if isinstance(value, (str, bytes)))
        if row_limit is not None and len(rows) > row_limit:
            raise TooLarge(f"more than {row_limit} rows")
        if size > byte_limit:
            raise TooLarge(f"more than {byte_limit} bytes")
    return rows
