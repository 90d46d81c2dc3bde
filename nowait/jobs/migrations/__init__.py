"""Makes the schema of a database that jobs need, one revision after the other, by alembic.

Each revision is one statement that changes the schema, as databases commit each of them at once, and one that may be
repeated: whoever was killed behind it has not noted the revision.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from nowait.database_url import DatabaseUrl
from nowait.jobs.connection import connected
from nowait.jobs.schema import REVISION, VERSIONS

_LOCK = "nowait.migrate"
# A change of a table waits for the transactions that use it, and all others that want to use it wait behind it.
_INIT_COMMAND = "SET lock_wait_timeout = 10"
_UNKNOWN_COLUMN = 1054


class MigrationError(Exception):
    """The schema is not what the code needs; the text is for people, in one line and without a password."""


@dataclass(frozen=True)
class Migration:
    """What was done.

    Attributes:
        before: the database's revision; None where it had none.
        after: its revision now.
    """

    before: str | None
    after: str


def migrate(database_url: str, wait: float = 60.0) -> Migration:
    """Bring the schema of a database to the newest revision. A newer one is left as it is.

    Args:
        database_url: see `nowait.database_url`; the account has to be one that may create tables.
        wait: seconds that another migration may take meanwhile.

    Raises MigrationError.
    """
    with _connect(database_url) as connection:
        if not connection.scalar(select(func.get_lock(_LOCK, wait))):
            raise MigrationError("another migration is under way: nothing was changed")
        before = _revision(connection)
        if before is not None and before >= REVISION:
            return Migration(before, before)
        command.upgrade(_config(connection=connection), REVISION)
        return Migration(before, REVISION)


def revision(database_url: str) -> str | None:
    """The revision of a database, None where it has none; nothing is written. Raises MigrationError."""
    with _connect(database_url) as connection:
        return _revision(connection)


def script(since: str = "base") -> str:
    """The statements that bring a database from a revision, or from nothing, to the newest.

    Raises MigrationError when there is no such revision.
    """
    output = io.StringIO()
    try:
        command.upgrade(_config(output), f"{since}:{REVISION}", sql=True)
    except CommandError as error:
        raise MigrationError(str(error)) from error
    return output.getvalue()


def _revision(connection: Connection) -> str | None:
    found = MigrationContext.configure(connection, opts={"version_table": VERSIONS}).get_current_revision()
    connection.commit()  # alembic takes a transaction that is open for the caller's, and commits nothing
    return found


def _config(output: TextIO | None = None, **attributes: Any) -> Config:
    config = Config(attributes=attributes, output_buffer=output)
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


@contextmanager
def _connect(database_url: str) -> Iterator[Connection]:
    url = DatabaseUrl.parse(database_url)
    try:
        with connected(url, _INIT_COMMAND) as connection:
            yield connection
    except DBAPIError as error:
        if error.orig is not None and error.orig.args[:1] == (_UNKNOWN_COLUMN,):
            raise MigrationError(f"the database {url.name} has a table jobs that is not Nowait's") from error
        raise MigrationError(f"the database {url.host}:{url.port} cannot be used: {error.orig}") from error
