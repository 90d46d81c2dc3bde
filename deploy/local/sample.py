"""Loads the sample data."""

from pathlib import Path

import pymysql
from pymysql.constants import CLIENT

from deploy.local.errors import LocalError
from nowait.database_url import DatabaseUrl

_SQL = Path(__file__).with_name("sample.sql")


def load(database_url: str) -> bool:
    """Fill the table `users` unless the database has one; an existing table is never touched.

    Returns True when it was filled now. Raises LocalError when the database refuses.
    """
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
            if cursor.execute("SHOW TABLES LIKE 'users'"):
                return False
            cursor.execute(_SQL.read_text(encoding="utf-8"))
            while cursor.nextset():
                pass
    except pymysql.err.MySQLError as error:
        raise LocalError(f"the sample data could not be loaded into {url.host}:{url.port}: {error}") from error
    return True
