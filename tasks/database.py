"""The workers' connections: one pooled engine per process, opened on its first use."""

import os
import threading
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

from sqlalchemy import Engine, create_engine

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

    The pool grows to as many connections as threads query at once, and keeps them.
    """
    return create_engine(
        urlunsplit(urlsplit(url)._replace(scheme="mysql+pymysql")),
        pool_size=0,  # no limit: the worker's concurrency is one
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={
            "charset": "utf8mb4",
            "init_command": "SET time_zone = '+00:00'",  # TIMESTAMP columns are read in UTC
            "connect_timeout": _CONNECT_TIMEOUT,
            "read_timeout": _READ_TIMEOUT,
            "write_timeout": _READ_TIMEOUT,
        },
    )
