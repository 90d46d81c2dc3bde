"""Reads a statement's rows while the database gives them, however many there are."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Executable
from sqlalchemy.exc import DBAPIError

from nowait.errors import ResultTooLarge
from tasks.database import connect
from tasks.driver import until
from tasks.statements import QueryFailed, run

log = logging.getLogger(__name__)

_MAX_BATCH = 500  # rows that are read at a time
_SHORT, _LONG = 0.02, 0.1  # seconds of reading a batch, below and above which the next one is larger or smaller
_KILL_TIMEOUT = 2.0  # seconds

Rows = Sequence[Sequence[Any]]


class Broken(QueryFailed):
    """The database failed, or was lost, with a part of the rows read."""


class Reading:
    """One statement from its start to the last row, or to its end before that.

    Args:
        engine: made by `tasks.database.make_engine`.
        statement: one statement with named parameters.
        parameters: their values.
    """

    def __init__(self, engine: Engine, statement: Executable, parameters: dict[str, Any]) -> None:
        self._engine = engine
        self._statement = statement
        self._parameters = parameters
        self._lock = threading.Lock()
        self._id: int | None = None  # of the connection that the database works for; None for none
        self._killed = False

    def run(
        self,
        take: Callable[[Sequence[str], Rows], None],
        *,
        deadline: float,
        repeatable: bool,
        row_limit: int,
    ) -> None:
        """Call `take` with the names of the columns and each batch of rows, the last of which may be empty.

        The first row is taken as soon as it is there. Until then the statement may be tried again; see
        `tasks.statements.run` for `deadline` and `repeatable`. Whatever ends the reading before the last row, ends the
        statement in the database, too.

        Raises ResultTooLarge as soon as there are more than `row_limit` rows, Broken, what `tasks.statements.run`
        raises, and what `take` does.
        """

        def attempt(connection: Connection, left: float) -> None:
            taken = 0
            try:
                with contextlib.closing(self._batches(connection, left)) as batches:
                    for names, rows in batches:
                        taken += len(rows)
                        if taken > row_limit:
                            raise ResultTooLarge(row_limit, "rows")
                        take(names, rows)
            except DBAPIError as error:
                if not taken:
                    raise
                number = error.orig.args[0] if error.orig is not None and error.orig.args else None
                raise Broken(f"error {number} of the database after {taken} rows") from error

        run(self._engine, attempt, deadline=deadline, repeatable=repeatable)

    def kill(self) -> None:
        """Have the database end the statement, also one that has not begun; for any thread. Never raises."""
        with self._lock:
            self._killed = True
        self._kill()

    def _batches(self, connection: Connection, time_limit: float) -> Generator[tuple[Sequence[str], Rows], None, None]:
        """Names and rows; the first batch has one row, or none."""
        self._begin(connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar_one())
        options = {"time_limit": time_limit, "stream_results": True, "max_row_buffer": _MAX_BATCH}
        try:
            result = connection.execute(self._statement, self._parameters, execution_options=options)
            names, size = tuple(result.keys()), 1
            rows: Rows = result.fetchmany(size)
            yield names, rows
            while rows:
                started = time.monotonic()
                rows = result.fetchmany(size)
                took = time.monotonic() - started
                yield names, rows
                if took < _SHORT:
                    size = min(2 * size, _MAX_BATCH)
                elif took > _LONG:
                    size = max(1, size // 4)
        except DBAPIError:
            self._end()
            connection.invalidate()
            raise
        except BaseException:
            # What is left would be read to its end before the connection could do anything else.
            self._kill()
            connection.invalidate()
            raise
        self._end()

    def _begin(self, connection_id: int) -> None:
        with self._lock:
            if self._killed:
                raise Broken("it was ended before it began")
            self._id = connection_id

    def _end(self) -> None:
        # From here on the connection is another statement's.
        with self._lock:
            self._id = None

    def _kill(self) -> None:
        with self._lock:
            if self._id is None:
                return
            try:
                with until(time.monotonic() + _KILL_TIMEOUT), connect(self._engine) as connection:
                    connection.exec_driver_sql(f"KILL {self._id}")
            except DBAPIError as error:
                # 1094: it has ended already.
                if error.orig is None or error.orig.args[:1] != (1094,):
                    log.warning("a statement could not be ended: %s", type(error.orig).__name__)
            self._id = None
