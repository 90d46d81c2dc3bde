"""The workers' connections: pooled engines, whose connections are opened on their first use in each process."""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from pymysql.err import MySQLError
from sqlalchemy import Connection, Dialect, Engine, ExceptionContext, PoolProxiedConnection, create_engine, event
from sqlalchemy.exc import InvalidatePoolError

from nowait.database_url import DatabaseUrl
from tasks import driver

# Bytes that a connection of make_engine() reads at a time. Those of jobs have small rows, and a thread may have three.
_BUFFER = 128 * 1024
_first = threading.Lock()
# MySQL reads hints of the first comment of a SELECT alone.
_TAKES_HINT = re.compile(r"\s*SELECT\b(?!\s*/\*\+)", re.IGNORECASE)


def make_engine(url: str) -> Engine:
    """A pooled engine for `mysql://user:password@host:port/name`, with or without `?tls=1`; connects on first use.

    The pool grows to as many connections as threads query at once, and keeps them. Each statement is a transaction
    of its own. All waiting ends as `tasks.driver` has it. A forked process opens connections of its own.
    """
    return _make_engine(url, "SET time_zone = '+00:00'", autocommit=True, buffer=_BUFFER)


def make_transactional_engine(url: str, init_command: str) -> Engine:
    """The same, with transactions, READ COMMITTED; transaction() has them.

    Args:
        url: as for make_engine().
        init_command: the first statement of each connection.
    """
    engine = _make_engine(url, init_command, autocommit=False, buffer=None, isolation_level="READ COMMITTED")

    def check_out(connection: Any, *_: Any) -> None:
        if connection.lost:
            raise InvalidatePoolError()

    event.listen(engine, "checkout", check_out)
    return engine


def _make_engine(url: str, init_command: str, autocommit: bool, buffer: int | None, **arguments: Any) -> Engine:
    options = DatabaseUrl.parse(url).options()
    # Without TLS asked for, PyMySQL encrypts where the database can, and verifies nothing. On this machine
    # there is nothing to hide, and 40 ms of CPU to save.
    options["ssl_disabled"] = options["ssl"] is None and options["host"] in ("127.0.0.1", "::1", "localhost")
    engine = create_engine(
        "mysql+pymysql://",
        pool_size=0,  # no limit: the worker's concurrency is one
        pool_recycle=1800,
        # A query that is well is one round trip: no ping before it, no rollback behind it.
        pool_reset_on_return=None,
        hide_parameters=True,  # in the errors' texts
        # TIMESTAMP columns are read in UTC.
        connect_args={**options, "charset": "utf8mb4", "init_command": init_command, "autocommit": autocommit},
        **arguments,
    )
    event.listen(engine, "do_connect", lambda dialect, record, arguments, options: driver.connect(buffer, **options))
    event.listen(engine, "handle_error", _note_end)
    # Two processes that share a connection mix up their answers; those of the parent are closed by the parent.
    os.register_at_fork(after_in_child=partial(engine.dispose, close=False))
    return engine


def _note_end(context: ExceptionContext) -> None:
    # SQLAlchemy does not know all errors behind which the connection is closed, and would give it back to the pool.
    context.is_disconnect |= next(iter(context.original_exception.args), None) in driver.LAST


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """A transaction: committed behind the block, unless the block has ended it; rolled back when the block raises.

    Args:
        engine: made by make_transactional_engine().

    Raises sqlalchemy.exc.DBAPIError or pymysql.err.MySQLError when there is no connection, or the database refuses.
    """
    with _alone_at_first(engine):
        connection = engine.connect()
    with connection:
        driven: Any = connection.connection.driver_connection
        try:
            yield connection
            connection.commit()
        except BaseException:
            with suppress(MySQLError):
                if driven.usable:
                    driven.rollback()
            # With its connection, a transaction ends, too.
            if not driven.usable:
                connection.invalidate()
            raise


@contextmanager
def connect(engine: Engine, ping: bool = False) -> Iterator[Any]:
    """A connection of the engine's pool, as `tasks.driver` has it; given back, or closed where it is not usable.

    Args:
        engine: made by make_engine().
        ping: ask the database whether it is still there. Otherwise one that went without a word is found by the
            statement, which then may have run.

    Raises sqlalchemy.exc.DBAPIError or pymysql.err.MySQLError when there is none.
    """
    while True:
        pooled = _check_out(engine)
        connection: Any = pooled.driver_connection
        if not connection.lost:
            break
        pooled.invalidate()
    try:
        if ping:
            connection.ping()
        yield connection
    finally:
        if connection.usable:
            pooled.close()
        else:
            pooled.invalidate()


def _check_out(engine: Engine) -> PoolProxiedConnection:
    with _alone_at_first(engine):
        return engine.raw_connection()


@contextmanager
def _alone_at_first(engine: Engine) -> Iterator[None]:
    if engine.dialect.server_version_info is not None:
        yield
        return
    # The first connection learns what database that is, under a lock of SQLAlchemy's for which all others
    # would wait without end. They wait here instead, until their own deadlines.
    first = _first.acquire(timeout=driver.remaining())
    try:
        yield
    finally:
        if first:
            _first.release()


def limited(dialect: Dialect, statement: str, seconds: float) -> list[str]:
    """The statements by which the database itself ends `statement` after so many seconds, in the order they are run.

    A client that stops waiting leaves its query running. MariaDB limits a statement
    (https://mariadb.com/kb/en/aborting-statements/), MySQL a SELECT by a hint, and what else there is for all of a
    session.
    """
    milliseconds = max(1, round(seconds * 1000))  # 0 is no limit for both
    if getattr(dialect, "is_mariadb", False):
        return [f"SET STATEMENT max_statement_time={milliseconds / 1000:.3f} FOR {statement}"]
    if select := _TAKES_HINT.match(statement):
        end = select.end()
        return [f"{statement[:end]} /*+ MAX_EXECUTION_TIME({milliseconds}) */{statement[end:]}"]
    return [f"SET SESSION max_execution_time={milliseconds}", statement]
