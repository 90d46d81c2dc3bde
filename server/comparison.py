"""The sample query made by the server itself, for the comparison routes.

What one should not do (block the loop) and what one can do instead (threads, an async driver in Python or in Cython),
beside the workers' way. All encode their rows as the workers do, so that only the way of waiting differs. The statement
is the workers' own, in `tasks/sql/users.sql`: the two packages never import each other, so it stands here a second
time, and a test holds the answers equal byte by byte.
"""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import JSON, create_engine, text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from nowait.database_url import DatabaseUrl
from nowait.messages.encoded import Encoded
from nowait.rows import compact_json, encode_rows

_THREADS = 32
_CONNECT_TIMEOUT = 5  # seconds

_USERS = text(
    "SELECT users.* FROM (SELECT SLEEP(:delay)) AS pause, users WHERE users.flag = :flag ORDER BY users.id"
).columns(profile=JSON())


class Comparison:
    """The four variants.

    Args:
        database_url: `mysql://user:password@host:port/name`, with or without `?tls=1`.
        connections: of each async driver, at most.
    """

    def __init__(self, database_url: str, connections: int = 100) -> None:
        options = {
            **DatabaseUrl.parse(database_url).options(),
            "charset": "utf8mb4",
            "connect_timeout": _CONNECT_TIMEOUT,
            "init_command": "SET time_zone = '+00:00'",
        }
        # As many connections as threads ask for: _THREADS, and the loop itself.
        self._engine = create_engine(
            "mysql+pymysql://",
            pool_size=_THREADS + 1,
            pool_pre_ping=True,
            json_deserializer=_json,
            connect_args=dict(options),
        )
        options["db"] = options.pop("database")
        self._aiomysql, self._asyncmy = (
            create_async_engine(
                f"mysql+{driver}://",
                pool_size=connections,
                max_overflow=0,
                pool_pre_ping=True,
                json_deserializer=_json,
                connect_args=options,
            )
            for driver in ("aiomysql", "asyncmy")
        )
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="comparison")

    async def blocking(self, flag: int, delay: float) -> Encoded:
        """Query with PyMySQL on the loop: the whole server stops for as long as that takes."""
        return self._query(flag, delay)

    async def threads(self, flag: int, delay: float) -> Encoded:
        """Query with PyMySQL in a pool of threads. Cancelled, the thread goes on until its answer comes."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._query, flag, delay)

    async def aiomysql(self, flag: int, delay: float) -> Encoded:
        """Query with aiomysql, a driver that waits on the loop without blocking it."""
        return await self._await(self._aiomysql, flag, delay)

    async def asyncmy(self, flag: int, delay: float) -> Encoded:
        """Query with asyncmy, the same in Cython: it reads the rows at a fraction of the cost, still on the loop."""
        return await self._await(self._asyncmy, flag, delay)

    async def close(self) -> None:
        """Close all connections; threads that wait for the database are left behind."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        await self._aiomysql.dispose()
        await self._asyncmy.dispose()
        threading.Thread(target=self._engine.dispose, daemon=True).start()

    async def _await(self, engine: AsyncEngine, flag: int, delay: float) -> Encoded:
        async with engine.connect() as connection:
            return await connection.run_sync(_rows, flag, delay)

    def _query(self, flag: int, delay: float) -> Encoded:
        with self._engine.connect() as connection:
            return _rows(connection, flag, delay)


def _json(text: str) -> Any:
    return compact_json([text.encode()])[0]


def _rows(connection: Connection, flag: int, delay: float) -> Encoded:
    result = connection.execute(_USERS, {"flag": flag, "delay": delay})
    return Encoded(encode_rows(tuple(result.keys()), result.all()))
