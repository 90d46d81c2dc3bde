"""What a job's function gets: its identity, its transaction, and the way to report."""

import json
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from nowait.errors import ResultTooLarge
from tasks.jobs.lease import Lease
from tasks.jobs.results import check_column, encode

_LARGEST_PROGRESS = 64 * 1024  # bytes
# Seconds after which check() uses the connection, which the database would end otherwise; not one whose rows are read:
# it is in use, and would drop them.
_LONGEST_SILENCE = 30.0


class Job:
    """One attempt of a job.

    Whatever the function does elsewhere, in another database or by HTTP, may happen once for each attempt. There `id`
    is of use as an idempotency key, and `attempt` as a fencing token, which grows from attempt to attempt.

    Attributes:
        id: of the job.
        attempt: 1 for the first.
    """

    def __init__(self, id: str, attempt: int, lease: Lease, begin: Callable[[], Connection]) -> None:
        self.id = id
        self.attempt = attempt
        self._lease = lease
        self._begin = begin
        self._connection: Connection | None = None
        self._used = time.monotonic()

    def __repr__(self) -> str:
        return f"<Job {self.id}, attempt {self.attempt}>"

    @property
    def connection(self) -> Connection:
        """A connection in a READ COMMITTED transaction, which begins as it is first used.

        It is committed with the job's success and nothing else: the function must neither commit nor roll back, nor
        run statements that commit, such as CREATE TABLE.
        """
        if self._connection is None:
            self._connection = self._begin()
        return self._connection

    @property
    def begun(self) -> Connection | None:
        """The same, when its transaction has begun."""
        return self._connection

    @property
    def time_left(self) -> float:
        """Seconds that the attempt may still take."""
        return max(0.0, self._lease.ends - time.monotonic())

    def check(self) -> None:
        """Call it between two steps; every minute, at least, once the transaction has begun. It costs next to nothing.

        Raises:
            LeaseLost: the job is cancelled, or another worker may have it.
            TimeLimitExceeded: the attempt has taken as long as it may.

        Whoever catches these cannot go on: the connection is closed, and nothing is committed.
        """
        now = time.monotonic()
        self._lease.check(now)
        if self._connection is not None and now - self._used >= _LONGEST_SILENCE:
            driven: Any = self._connection.connection.driver_connection
            if not driven.reading:
                self._used = now
                self._connection.exec_driver_sql("DO 0")

    def progress(self, value: Any) -> None:
        """Let clients see how far it is; of several within a second they see the last.

        Args:
            value: with a form in JSON, as in `nowait.rows`; up to 64 KiB and 31 levels, without lone surrogates.

        Raises TypeError or ValueError for anything else.
        """
        try:
            progress = json.loads(encode(value, _LARGEST_PROGRESS))
            check_column(progress)
        except (ResultTooLarge, RecursionError) as error:
            raise ValueError(f"progress: {error}") from error
        self._lease.report(progress)
