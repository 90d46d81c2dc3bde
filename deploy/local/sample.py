"""The sample data: `make sample` loads it into the database of the settings."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymysql
from pymysql.constants import CLIENT
from pymysql.cursors import Cursor

from deploy.local.errors import LocalError
from nowait.database_url import DatabaseUrl
from nowait.settings import DatabaseSettings

_SQL = Path(__file__).with_name("sample.sql")


def main() -> int:
    """Load it, and print what was done. Returns the exit status: 0 when the table is there, 1 otherwise."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local.sample",
        description="Fills the table users with sample data; a table users that is there already is never touched.",
        epilog="Settings, from the environment:\n" + DatabaseSettings.describe(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    settings = DatabaseSettings.load()
    try:
        loaded = load(settings.database_url)
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    done = "loaded into the new table users" if loaded else "the table users is there already, nothing was changed"
    print(f"sample data: {done}")
    return 0


def load(database_url: str) -> bool:
    """Fill the table `users` unless the database has one; an existing table is never touched.

    Returns True when it was filled now. Raises LocalError when the database refuses.
    """
    with _cursor(database_url) as cursor:
        if _exists(cursor):
            return False
        cursor.execute(_SQL.read_text(encoding="utf-8"))
        while cursor.nextset():
            pass
    return True


def exists(database_url: str) -> bool:
    """True when the database has a table `users`; nothing is written. Raises LocalError when the database refuses."""
    with _cursor(database_url) as cursor:
        return _exists(cursor)


def _exists(cursor: Cursor) -> bool:
    return bool(cursor.execute("SHOW TABLES LIKE 'users'"))


@contextmanager
def _cursor(database_url: str) -> Iterator[Cursor]:
    url = DatabaseUrl.parse(database_url)
    try:
        connection = pymysql.connect(
            **url.options(),
            charset="utf8mb4",
            connect_timeout=10,
            client_flag=CLIENT.MULTI_STATEMENTS,
            init_command="SET time_zone = '+00:00'",
        )
        with connection, connection.cursor() as cursor:
            yield cursor
    except pymysql.err.MySQLError as error:
        raise LocalError(f"the database {url.host}:{url.port} cannot be used: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
