"""The workers' connections: one pooled engine per process, opened on its first use."""

import os
import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

from nowait.database_url import DatabaseUrl
from tasks import driver

_first = threading.Lock()


class EnginePerProcess:
    """Makes the engine in the process that asks for it.

    A connection that two processes share after a fork mixes up their answers, so an engine that
    was made before the fork is never used after it.

    Args:
        make: builds a new engine.
    """

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._pid = 0

    def __call__(self) -> Engine:
        """The engine of this process."""
        if self._engine is None or self._pid != os.getpid():
            with self._lock:
                if self._engine is None or self._pid != os.getpid():
                    if self._engine is not None:
                        # The parent's connections are closed by the parent.
                        self._engine.dispose(close=False)
                    self._engine = self._make()
                    self._pid = os.getpid()
        return self._engine


def make_engine(url: str) -> Engine:
    """A pooled engine for `mysql://user:password@host:port/name`, with or without `?tls=1`; connects on first use.

    The pool grows to as many connections as threads query at once, and keeps them. A statement with
    the execution option `time_limit`, in seconds, is ended by the database when that is over. All waiting ends
    as `tasks.driver` has it.
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
        connect_args={
            **options,
            "charset": "utf8mb4",
            "init_command": "SET time_zone = '+00:00'",  # TIMESTAMP columns are read in UTC
        },
    )
    event.listen(engine, "do_connect", lambda dialect, record, arguments, options: driver.connect(**options))
    event.listen(engine, "before_cursor_execute", _limit_time, retval=True)
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
    if getattr(connection.dialect, "is_mariadb", False):
        if seconds is not None:
            statement = f"SET STATEMENT max_statement_time={seconds:.3f} FOR {statement}"
    else:
        # In milliseconds; 0 for no limit.
        cursor.execute(f"SET SESSION max_execution_time={0 if seconds is None else max(1, round(seconds * 1000))}")
    return statement, parameters
