"""Reads a statement's rows while the database gives them, however many there are."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from pymysql.err import MySQLError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from nowait.errors import ResultTooLarge
from tasks.database import connect
from tasks.driver import until
from tasks.result import Columns
from tasks.statements import ENDED, QueryFailed, Statement, begin, error_number, run

log = logging.getLogger(__name__)

_KILL_TIMEOUT = 2.0  # seconds


class Broken(QueryFailed):
    """The database failed, or was lost, with a part of the rows read."""


class Reading:
    """One statement from its start to the last row, or to its end before that.

    Args:
        engine: made by `tasks.database.make_engine`.
        statement: one statement with named parameters.
        parameters: their values.
    """

    def __init__(self, engine: Engine, statement: Statement, parameters: dict[str, Any]) -> None:
        self._engine = engine
        self._statement = statement
        self._parameters = parameters
        self._lock = threading.Lock()
        self._id: int | None = None  # of the connection that the database works for; None for none
        self._killed = False

    def run(
        self,
        take: Callable[[Sequence[str], Columns], None],
        *,
        deadline: float,
        repeatable: bool,
        row_limit: int,
    ) -> None:
        """Call `take` with the names of the columns, and with their values in the rows that have come.

        The first row is taken as soon as it is there; where there is none, `take` is called once with no columns. Until
        then the statement may be tried again; see
        `tasks.statements.run` for `deadline` and `repeatable`. Whatever ends the reading before the last row, ends the
        statement in the database, too.

        Raises ResultTooLarge as soon as there are more than `row_limit` rows, Broken, what `tasks.statements.run`
        raises, and what `take` does.
        """

        def attempt(connection: Any, left: float) -> None:
            self._begin(connection.thread_id())
            taken = 0
            try:
                result = begin(connection, self._engine.dialect, self._statement, self._parameters, left)
                for columns in result.batches():
                    if result.count > row_limit:
                        raise ResultTooLarge(row_limit, "rows")
                    take(result.names, columns)
                    taken = result.count
                if not taken:
                    take(result.names, ())
            except MySQLError as error:
                self._end()
                if not taken:
                    raise
                raise Broken(f"error {error_number(error)} of the database after {taken} rows") from error
            except BaseException:
                self._kill()
                connection.close()
                raise
            self._end()

        run(self._engine, attempt, deadline=deadline, repeatable=repeatable)

    def kill(self) -> None:
        """Have the database end the statement, also one that has not begun; for any thread. Never raises."""
        with self._lock:
            self._killed = True
        self._kill()

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
                    connection.query(f"KILL {self._id}")
            except (DBAPIError, MySQLError) as error:
                if error_number(error) != ENDED:
                    log.warning("a statement could not be ended: error %s", error_number(error))
            self._id = None
