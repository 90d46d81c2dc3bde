"""Keeps the lease of an attempt while it runs, and ends its connection with it."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pymysql.err import MySQLError
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from nowait.jobs import protocol
from tasks.database import transaction
from tasks.driver import until
from tasks.jobs.lease import JobEnded, Lease, TimeLimitExceeded
from tasks.statements import AWAY, ENDED, LOST, REPEATED, error_number

log = logging.getLogger(__name__)

_TIMEOUT = 2.0  # seconds that the database gets for an answer
_GRACE = 5.0  # seconds that a function gets to return, once its connection is ended; the lease goes on for longer


class Heartbeat:
    """A thread that writes to the job's row while its block runs, and reconnects by itself.

    With the lease, or the time of the attempt, it ends the job's connection: in the database, so that the statement
    ends, and its locks are free; and here, where its thread may wait for it.

    Args:
        engine: for connections of its own.
        job_id, attempt: what it keeps.
        lease: what is known of it.
        overdue: is called when the block lasts on, although the time of the attempt is over.
    """

    def __init__(
        self, engine: Engine, job_id: str, attempt: int, lease: Lease, overdue: Callable[[], None]
    ) -> None:
        self._engine = engine
        self._job_id = job_id
        self._attempt = attempt
        self._lease = lease
        self._overdue = overdue
        self._stopped = threading.Event()
        self._lock = threading.Lock()  # held while a connection is ended
        self._connection: Any = None  # the job's, where it is to be ended with the lease

    def __enter__(self) -> "Heartbeat":
        threading.Thread(target=self._run, name=f"heartbeat-{self._job_id}", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()

    @contextmanager
    def ending(self, connection: Connection) -> Iterator[None]:
        """End this connection with the lease, if that happens within the block. Raises JobEnded when it has."""
        with self._lock:
            self._lease.check(time.monotonic())
            self._connection = connection.connection.driver_connection
        try:
            yield
        finally:
            with self._lock:
                self._connection = None

    def _run(self) -> None:
        while not self._stopped.wait(self._lease.pause(time.monotonic())):
            now = time.monotonic()
            if self._lease.is_due(now):
                self._write(now)
            try:
                self._lease.check(time.monotonic())
            except JobEnded as error:
                log.info("job %s, attempt %d: %s", self._job_id, self._attempt, error)
                self._end()
                if isinstance(error, TimeLimitExceeded) and not self._stopped.wait(_GRACE):
                    self._overdue()
                return

    def _write(self, now: float) -> None:
        progress = self._lease.unreported
        try:
            kept = self._keep(now, progress)
        except (DBAPIError, MySQLError) as error:
            number = error_number(error)
            log.warning("job %s, attempt %d: no heartbeat: error %s", self._job_id, self._attempt, number)
            return
        if kept:
            self._lease.written(now, progress)
        else:
            self._lease.refuse()

    def _keep(self, now: float, progress: tuple[Any] | None) -> bool:
        """Write to the row, if it is still this attempt's."""
        if progress is None:
            step = protocol.heartbeat(self._job_id, self._attempt)
        else:
            step = protocol.report(self._job_id, self._attempt, *progress)
        try:
            with until(now + _TIMEOUT), transaction(self._engine) as connection:
                return connection.execute(*step).rowcount == 1
        except (DBAPIError, MySQLError) as error:
            number = error_number(error)
            if progress is None or number in AWAY | LOST | REPEATED:
                raise
        # It would be the same each time, until the lease is lost.
        log.warning("job %s, attempt %d: progress is dropped: error %s", self._job_id, self._attempt, number)
        self._lease.drop(progress)
        return self._keep(now, None)

    def _end(self) -> None:
        with self._lock:
            if self._connection is None:
                return
            try:
                with until(time.monotonic() + _TIMEOUT), transaction(self._engine) as connection:
                    connection.exec_driver_sql(f"KILL {self._connection.thread_id()}")
            except (DBAPIError, MySQLError) as error:
                if error_number(error) != ENDED:
                    number = error_number(error)
                    log.warning("job %s, attempt %d: not ended: error %s", self._job_id, self._attempt, number)
            self._connection.hang_up()
