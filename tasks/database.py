"""The workers' connections: one pooled engine, opened on its first use in each process."""

import os
import threading
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

from nowait.database_url import DatabaseUrl
from tasks import driver

_first = threading.Lock()


def make_engine(url: str) -> Engine:
    """A pooled engine for `mysql://user:password@host:port/name`, with or without `?tls=1`; connects on first use.

    The pool grows to as many connections as threads query at once, and keeps them. A statement with
    the execution option `time_limit`, in seconds, is ended by the database when that is over. All waiting ends
    as `tasks.driver` has it. A forked process opens connections of its own.
    """
    options = DatabaseUrl.parse(url).options()
    # Without TLS asked for, PyMySQL encrypts where the database can, and verifies nothing. On this machine
    # there is nothing to hide, and 40 ms of CPU to save.
    options["ssl_disabled"] = options["ssl"] is None and options["host"] in ("127.0.0.1", "::1", "localhost")
    engine = create_engine(
        "mysql+pymysql://",
        pool_size=0,  # no limit: the worker's concurrency is one
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,  # in the errors' texts
        # TIMESTAMP columns are read in UTC.
        connect_args={**options, "charset": "utf8mb4", "init_command": "SET time_zone = '+00:00'"},
    )
    event.listen(engine, "do_connect", lambda dialect, record, arguments, options: driver.connect(**options))
    event.listen(engine, "before_cursor_execute", _limit_time, retval=True)
    # Two processes that share a connection mix up their answers; those of the parent are closed by the parent.
    os.register_at_fork(after_in_child=partial(engine.dispose, close=False))
    return engine


def connect(engine: Engine) -> Connection:
    """A connection of the engine's pool. Raises DBAPIError."""
    if engine.dialect.server_version_info is not None:
        return engine.connect()
    # The first connection learns what database that is, under a lock of SQLAlchemy's for which all others
    # would wait without end. They wait here instead, until their own deadlines.
    first = _first.acquire(timeout=driver.remaining())
    try:
        return engine.connect()
    finally:
        if first:
            _first.release()


def _limit_time(
    connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, _many: bool
) -> tuple[str, Any]:
    """Have the database itself end a statement that has the execution option `time_limit`, in seconds.

    A client that stops waiting leaves its query running. MariaDB limits a statement
    (https://mariadb.com/kb/en/aborting-statements/), MySQL the queries of a session.
    """
    seconds: float | None = context.execution_options.get("time_limit")
    # 0 is no limit for both.
    milliseconds = 0 if seconds is None else max(1, round(seconds * 1000))
    if not getattr(connection.dialect, "is_mariadb", False):
        cursor.execute(f"SET SESSION max_execution_time={milliseconds}")
    elif milliseconds:
        statement = f"SET STATEMENT max_statement_time={milliseconds / 1000:.3f} FOR {statement}"
    return statement, parameters
