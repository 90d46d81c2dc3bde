"""The workers' connections: one pooled engine per process, opened on its first use."""

import os
import ssl
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from sqlalchemy import Connection, Engine, create_engine, event

_CONNECT_TIMEOUT = 5  # seconds
_READ_TIMEOUT = 300  # seconds; a last resort, PyMySQL alone would wait for ever


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
    """A pooled engine for `mysql://user:password@host:port/name`; connects on first use.

    With `?tls=1` the database has to show a certificate that is good for its host name, by the CAs of
    this machine or of OpenSSL's SSL_CERT_FILE.

    The pool grows to as many connections as threads query at once, and keeps them. A statement with
    the execution option `time_limit`, in seconds, is ended by the database when that is over.
    """
    parts = urlsplit(url)
    engine = create_engine(
        urlunsplit(parts._replace(scheme="mysql+pymysql", query="")),
        pool_size=0,  # no limit: the worker's concurrency is one
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={
            "charset": "utf8mb4",
            **_tls(parts.hostname or "", parts.query == "tls=1"),
            "init_command": "SET time_zone = '+00:00'",  # TIMESTAMP columns are read in UTC
            "connect_timeout": _CONNECT_TIMEOUT,
            "read_timeout": _READ_TIMEOUT,
            "write_timeout": _READ_TIMEOUT,
        },
    )
    event.listen(engine, "before_cursor_execute", _limit_time, retval=True)
    return engine


def _tls(host: str, wanted: bool) -> dict[str, Any]:
    """PyMySQL's options for TLS. Without any it encrypts where the database can, and verifies nothing."""
    if wanted:
        # One for all connections: PyMySQL would make another for each, 40 ms of CPU.
        return {"ssl": ssl.create_default_context()}
    # On this machine there is nothing to hide, and those 40 ms to save.
    return {"ssl_disabled": host in ("127.0.0.1", "::1", "localhost")}


def abandon(connection: Connection, raw: Any) -> None:
    """Close a connection in the middle of a result, instead of reading what the database still sends.

    PyMySQL reads a result to its end before it lets go of it, even from a connection that is lost,
    and has no other way than this one.

    Args:
        connection: it may be lost already.
        raw: PyMySQL's own connection behind it.
    """
    if raw._result is not None:
        raw._result.unbuffered_active = False
    if not connection.invalidated:
        connection.invalidate()


def _limit_time(
    connection: Connection, cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
) -> tuple[str, Any]:
    """Have the database itself end a statement that has the execution option `time_limit`, in seconds.

    A client that stops waiting leaves its query running. MariaDB limits a statement
    (https://mariadb.com/kb/en/aborting-statements/), MySQL the queries of a session.
    """
    seconds: float | None = connection.get_execution_options().get("time_limit")
    if getattr(connection.dialect, "is_mariadb", False):
        if seconds is not None:
            statement = f"SET STATEMENT max_statement_time={seconds:.3f} FOR {statement}"
    else:
        # In milliseconds; 0 for no limit.
        cursor.execute(f"SET SESSION max_execution_time={0 if seconds is None else max(1, round(seconds * 1000))}")
    return statement, parameters
