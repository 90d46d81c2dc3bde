"""Which schema of the database the code needs, and what is missing where there is another. No I/O."""

from typing import Any

from sqlalchemy import Select, String, column, select, table

REVISION = "0005"
"""The newest revision of `nowait.jobs.migrations`, and the oldest that this code works with."""

VERSIONS = "nowait_migrations"
"""The table that alembic keeps the database's revision in."""

# Error numbers of the database.
_NO_SUCH_TABLE = 1146
_DENIED = (1142, 1044)  # a table, a database; also of a table that is not there, for an account without rights to it

MIGRATE = "run `python -m nowait.jobs` with an account that may create tables (`make migrate` in a checkout)"
"""What helps, for people."""

_MISSING = f"the table of jobs is missing: {MIGRATE}"


def installed() -> Select[Any]:
    """The database's revision, in one row; no row when it has none yet."""
    return select(column("version_num", String)).select_from(table(VERSIONS))


def shortcoming(revision: str | None) -> str | None:
    """What is wrong with the schema, in one line for people, and None when nothing is.

    A newer one is good: no revision takes away what the code before it uses.

    Args:
        revision: installed()'s result; None where there is no row.
    """
    if revision is None:
        return _MISSING
    if revision < REVISION:
        return f"the schema of jobs is {revision}, {REVISION} is needed: {MIGRATE}"
    return None


def refusal(error: int | None) -> str | None:
    """The same for installed() that has failed with this number of the database's, if any.

    Returns None when that is not because of the schema.
    """
    if error == _NO_SUCH_TABLE:
        return _MISSING
    if error in _DENIED:
        return f"the account may not read {VERSIONS}: {MIGRATE}, then deploy/database/setup.sh"
    return None
