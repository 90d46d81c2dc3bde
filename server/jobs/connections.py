"""The server's connections to the database that keeps the jobs, and what becomes of its errors."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from nowait.database_url import DatabaseUrl
from nowait.jobs import schema
from nowait.jobs.table import INIT_COMMAND, ISOLATION_LEVEL
from server.jobs.model import SchemaMissing, StoreUnavailable

DEADLOCK = 1213
LOCK_WAIT = 1205
DUPLICATE = 1062
_CHANGED = 1020  # of MariaDB, for what is a deadlock in all but name
# Without rights to it, an account does not learn whether a table is there.
_NO_TABLE, _NO_COLUMN, _NO_RIGHTS = 1146, 1054, (1142, 1044)
_NO_CONNECTION = 2003

_REPEATS = 3  # of a transaction that the database has rolled back, or whose connection was lost
_CONNECT_TIMEOUT = 5  # seconds for TCP alone; all else is bounded by the caller's time
_CLEANUP = 0.5  # seconds between two attempts to end what does not end
_IDLE = 60  # seconds after which the database drops a connection, and the locks of one that was cut off

# A lock is waited for a second, so that its end is known before a request's two are over. What a client does not wait
# for any more goes on in the database: it ends by itself.
_INIT_COMMAND = (
    f"{INIT_COMMAND}, innodb_lock_wait_timeout = 1, wait_timeout = {_IDLE}"
    " /*M!100000 , max_statement_time = 10 */ /*!80000 , max_execution_time = 10000 */"
)

T = TypeVar("T")
Steps = Callable[[AsyncConnection], Awaitable[T]]


class Connections:
    """A pool of them; the first is made when it is needed.

    Until the database was found to have the schema that is needed, each transaction looks at it first.

    Args:
        database_url: `mysql://user:password@host:port/name`, with or without `?tls=1`.
        most: connections at once; who wants one more waits.

    Attributes:
        most: as above.
        in_use: connections with a transaction on them, or about to have one.
        waiting: transactions that wait for a connection.
    """

    def __init__(self, database_url: str, most: int = 10) -> None:
        # One after the other: at the pool itself, who has just come may be served before those who wait.
        self._turns = asyncio.Semaphore(most)
        self.most, self.in_use, self.waiting = most, 0, 0
        options = DatabaseUrl.parse(database_url).options()
        options["db"] = options.pop("database")
        self._found_good = False  # the schema
        self._engine = create_async_engine(
            "mysql+aiomysql://",
            isolation_level=ISOLATION_LEVEL,
            pool_size=most,
            max_overflow=0,
            # A connection that went without a word is found by the first statement on it, and the transaction is
            # repeated on another: that costs nothing as long as all is well, where a ping were a round trip each.
            pool_recycle=_IDLE - 10,
            # Each transaction ends in transaction(). A rollback on the way back to the pool would be a round trip
            # that nothing could end while the database is frozen.
            pool_reset_on_return=None,
            hide_parameters=True,  # in the errors' texts
            connect_args={
                **options,
                "charset": "utf8mb4",
                "connect_timeout": _CONNECT_TIMEOUT,
                "init_command": _INIT_COMMAND,
            },
        )

    async def transaction(self, steps: Steps[T], timeout: float) -> T:
        """Run `steps` on a connection, and commit what they did.

        Steps are repeated when the database has rolled them back or the connection is lost: they may have been
        committed before that.

        Returns what they return.

        Raises StoreUnavailable within `timeout` seconds, whatever the database does, SchemaMissing, or what the steps
        raise; nothing, or all of it, was committed then. An error of the database that no repetition mends is a defect
        of the steps, and raised as it is.
        """
        return await _within(timeout, self._repeated(steps))

    async def close(self) -> None:
        """Close the connections that nobody uses."""
        await self._engine.dispose()

    async def _repeated(self, steps: Steps[T]) -> T:
        repeats = _REPEATS
        while True:
            try:
                async with self._turn(), self._engine.begin() as connection:
                    if not self._found_good:
                        await _check(connection)
                        self._found_good = True
                    return await steps(connection)
            except DBAPIError as error:
                lost = error.connection_invalidated or error_number(error) in (DEADLOCK, _CHANGED)
                if not lost or not repeats:
                    raise _translated(error) from error
                repeats -= 1
            except (PoolTimeout, OSError) as error:
                raise StoreUnavailable(f"no connection to the database ({type(error).__name__})") from error

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        self.waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self.waiting -= 1
        self.in_use += 1
        try:
            yield
        finally:
            self.in_use -= 1
            self._turns.release()


async def _check(connection: AsyncConnection) -> None:
    """Raise SchemaMissing unless the database has the schema that is needed."""
    try:
        found = (await connection.execute(schema.installed())).scalar()
    except DBAPIError as error:
        if reason := schema.refusal(error_number(error)):
            raise SchemaMissing(reason) from error
        raise
    if reason := schema.shortcoming(found):
        raise SchemaMissing(reason)


def error_number(error: DBAPIError) -> int | None:
    """The number that the database, or its driver, has for an error; None where there is none."""
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None


def _translated(error: DBAPIError) -> Exception:
    """The error for those who know nothing of databases, its text without names and statements."""
    number = error_number(error)
    if number in (_NO_TABLE, _NO_COLUMN, *_NO_RIGHTS):
        return SchemaMissing(f"the table of jobs is missing or too old: {schema.MIGRATE}")
    if number == _NO_CONNECTION:
        return StoreUnavailable("the database cannot be reached")
    if error.connection_invalidated:
        return StoreUnavailable(f"the connection to the database was lost (error {number})")
    if type(error).__name__ in ("OperationalError", "InternalError", "InterfaceError"):
        return StoreUnavailable(f"the database failed (error {number})")
    return error


async def _within(timeout: float, work: Coroutine[Any, Any, T]) -> T:
    """As asyncio.wait_for, which before Python 3.12 goes on when it is cancelled and has its answer at one moment: a
    relay would never end.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda _: task.cancelled() or task.exception())  # nobody may look at it
    try:
        await asyncio.wait({task}, timeout=timeout)
    finally:
        while not task.done():
            task.cancel()
            # Not for ever: the driver connects with wait_for.
            await asyncio.wait({task}, timeout=_CLEANUP)
    if task.cancelled():
        raise StoreUnavailable(f"no answer from the database within {timeout:g} s")
    return task.result()
