"""The database that the environment names, which tests use and leave as it was."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pymysql

from nowait.database_url import DatabaseUrl


def _connect(url: str) -> "pymysql.Connection[Any]":
    return pymysql.connect(**DatabaseUrl.parse(url).options(), autocommit=True)


@contextmanager
def new_database() -> Iterator[str | None]:
    """The URL of an empty database on the server that the environment names, dropped behind the block.

    None when it names none, or an account that may not create databases.
    """
    given = os.environ.get("NOWAIT_DATABASE_URL")
    if not given:
        yield None
        return
    name = f"{DatabaseUrl.parse(given).name}_{uuid4().hex[:8]}"
    with _connect(given) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        except pymysql.err.OperationalError:
            yield None
            return
    try:
        yield urlsplit(given)._replace(path=f"/{name}").geturl()
    finally:
        with _connect(given) as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name}")
