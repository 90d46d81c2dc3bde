"""A connection for the programs of an operator, which ask for one and end."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, NullPool, create_engine

from nowait.database_url import DatabaseUrl
from nowait.jobs.table import ISOLATION_LEVEL

_CONNECT_TIMEOUT = 10  # seconds


@contextmanager
def connected(url: DatabaseUrl, init_command: str) -> Iterator[Connection]:
    """A connection, closed behind the block.

    Args:
        url: of the database.
        init_command: the statement that it begins with.

    Raises DBAPIError when there is none.
    """
    options = {"charset": "utf8mb4", "connect_timeout": _CONNECT_TIMEOUT, "init_command": init_command}
    engine = create_engine(
        "mysql+pymysql://",
        poolclass=NullPool,
        isolation_level=ISOLATION_LEVEL,
        connect_args={**url.options(), **options},
    )
    with engine.connect() as connection:
        yield connection
