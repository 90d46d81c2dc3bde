"""Whether queries can work in their database: each is prepared there, and none is run."""

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pymysql.err import MySQLError
from sqlalchemy import Dialect, Engine
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError

from tasks.catalogue import Query
from tasks.columns import read_row_schema
from tasks.database import connect
from tasks.driver import until
from tasks.statements import LOST, error_arguments, error_number, written

log = logging.getLogger(__name__)

_TIMEOUT = 5.0  # seconds that a check of all queries may take
_PAUSE = 60.0  # seconds from one check to the next
# Error numbers that say nothing of a statement: the database is busy or full, or it cannot prepare such
# a statement. It does not take two `?` for the same value, and may not group, or order, by one of them.
_INCONCLUSIVE = {1037, 1038, 1041, 1205, 1213, 1226, 1317, 1461, 1969, 3024, 1055, 1295, 3065}
_PLACEHOLDERS = mysql.dialect(paramstyle="qmark")


@dataclass(frozen=True)
class Findings:
    """What a check has found; the other queries are well.

    Attributes:
        broken: what the database has against a query, by the query's name: its error's number and text.
        unchecked: why nothing is known of a query, by its name.
        rows: JSON Schema of a row of a query, by its name, where the database has described its columns.
    """

    broken: dict[str, str] = field(default_factory=dict)
    unchecked: dict[str, str] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)


def check(engine: Engine, queries: Iterable[Query]) -> Findings:
    """Have the database prepare each query, within 5 seconds; never raises because of the database."""
    findings, left = Findings(), list(queries)
    try:
        with until(time.monotonic() + _TIMEOUT), connect(engine) as connection:
            try:
                while left:
                    _prepare(connection, left[0], findings)
                    _describe(connection, engine.dialect, left[0], findings)
                    left.pop(0)
            finally:
                connection.close()  # what is set in its session goes with it
    except (DBAPIError, MySQLError) as error:
        findings.unchecked.update({query.name: _reason(error) for query in left})
    return findings


def _prepare(connection: Any, query: Query, findings: Findings) -> None:
    """Have one query prepared. Raises MySQLError when the connection is lost."""
    statement = str(query.statement.compile(dialect=_PLACEHOLDERS))
    try:
        # A table that is locked is not waited for; without the limit, MariaDB would wait for it without end.
        connection.cursor().execute("SET lock_wait_timeout = 1, @nowait_check = %s", (statement,))
        connection.query("PREPARE nowait_check FROM @nowait_check")
        connection.query("DEALLOCATE PREPARE nowait_check")
    except MySQLError as error:
        if error_number(error) in LOST:
            raise
        found = findings.unchecked if error_number(error) in _INCONCLUSIVE else findings.broken
        found[query.name] = _reason(error)


def _describe(connection: Any, dialect: Dialect, query: Query, findings: Findings) -> None:
    """Note the row of a query that is well. Raises MySQLError when the connection is lost."""
    if query.name in findings.broken or query.name in findings.unchecked:
        return
    try:
        statement, json = written(connection, dialect, query.statement, query.parameters.sample())
        row = read_row_schema(connection, statement, json)
    except MySQLError as error:
        # Such a value may be none that the statement can do with.
        if error_number(error) in LOST:
            raise
        return
    if row is not None:
        findings.rows[query.name] = row


def _reason(error: Exception) -> str:
    """The number and the text of the database's own error, on one line."""
    return " ".join(" ".join(map(str, error_arguments(error))).split())


class Checks:
    """What a worker's process knows of its queries.

    A broken query is run all the same when it is called: the check does not decide, the database does.

    Args:
        engine: of the database.
        queries: all of them, by name.
    """

    def __init__(self, engine: Engine, queries: Mapping[str, Query]) -> None:
        self._engine = engine
        self._queries = queries
        self._open = set(queries)  # not known to be well
        self._undescribed = set(queries)  # all of those, and others that have given rows
        self._broken: dict[str, str] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        self._running = threading.Lock()
        self._last = -_PAUSE

    def __repr__(self) -> str:
        return f"<Checks {len(self._broken)} broken, {len(self._open)} not known to be well>"

    def is_broken(self, name: str) -> bool:
        """True when the query of that name was broken when it was last checked, or called."""
        return name in self._broken

    def row(self, name: str) -> dict[str, Any] | None:
        """JSON Schema of a row of the query of that name; None when it is not known, or gives no rows.

        It is as it was when the database first described it.
        """
        return self._rows.get(name)

    def run(self) -> None:
        """Check all that are not described, and log each that is found broken, or well again."""
        if not self._running.acquire(blocking=False):
            return
        try:
            self._last = time.monotonic()
            self._note(check(self._engine, [self._queries[name] for name in self._undescribed]))
        finally:
            self._running.release()

    def renew(self) -> None:
        """The same in the background, at most once a minute, while there are such."""
        if self._undescribed and time.monotonic() - self._last >= _PAUSE:
            threading.Thread(target=self.run, name="checks", daemon=True).start()

    def succeeded(self, name: str) -> None:
        """The query of that name has given its rows."""
        self._open.discard(name)
        if self._broken.pop(name, None) is not None:
            log.info("query %s works again", name)

    def _note(self, findings: Findings) -> None:
        self._rows.update(findings.rows)
        # What has given its rows meanwhile is well, whatever was found, and only cannot be described.
        broken = {name: reason for name, reason in findings.broken.items() if name in self._open}
        for name in self._undescribed - broken.keys() - findings.unchecked.keys():
            self._undescribed.discard(name)
            self.succeeded(name)
        for name, reason in broken.items():
            if self._broken.get(name) != reason:
                log.error("query %s cannot work: %s", name, reason)
            self._broken[name] = reason
        if findings.unchecked:
            reasons = "; ".join(dict.fromkeys(findings.unchecked.values()))
            log.warning("not checked, %s: %s", reasons, ", ".join(findings.unchecked))
