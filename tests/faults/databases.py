"""What only root may do with a private database: look at the connections to it, and end them."""

import pymysql

from deploy.local.database import Database
from nowait.database_url import DatabaseUrl

_NO_SUCH = 1094  # there is no such connection any more


def as_root(database: Database, *statements: str) -> list[tuple[object, ...]]:
    """Run statements as root; the rows of the last."""
    connection = pymysql.connect(
        unix_socket=str(database.directory / "data/database.sock"), user="root", autocommit=True,
        password=DatabaseUrl.parse(database.url).password,
    )  # fmt: skip
    with connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


def connections(database: Database, condition: str = "TRUE") -> list[int]:
    """The connections of the programs that use it, by their ids; the condition is one of SQL."""
    found = as_root(
        database, f"SELECT id FROM information_schema.processlist WHERE user = 'nowait' AND ({condition})"
    )
    return [int(str(number)) for (number,) in found]


def kill_connections(database: Database) -> int:
    """End them all; returns how many there were."""
    numbers = connections(database)
    for number in numbers:
        # Some have ended by themselves meanwhile.
        try:
            as_root(database, f"KILL {number}")
        except pymysql.err.OperationalError as error:
            assert error.args[0] == _NO_SUCH, error
    return len(numbers)
