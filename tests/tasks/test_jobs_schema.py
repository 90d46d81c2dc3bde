"""What a worker says of the schema of jobs."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from tasks.database import transaction
from tasks.jobs.schema import shortcoming
from tasks.jobs.steps import make_steps_engine
from tests.tasks.jobs import Table


@pytest.fixture
def versions(table: Table) -> Iterator[Engine]:
    """Has the table of versions be what it was."""
    (before,) = table.execute("SELECT version_num FROM nowait_migrations")
    yield table.steps_engine
    table.execute("CREATE TABLE IF NOT EXISTS nowait_migrations (version_num VARCHAR(32) PRIMARY KEY)")
    table.execute("DELETE FROM nowait_migrations")
    table.execute(f"INSERT INTO nowait_migrations VALUES ('{before}')")


def test_nothing_is_said_of_the_schema_that_the_code_needs(table: Table) -> None:
    assert shortcoming(table.steps_engine) is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("DROP TABLE nowait_migrations", "the table of jobs is missing: run `python -m nowait.jobs`"),
        ("DELETE FROM nowait_migrations", "the table of jobs is missing: run `python -m nowait.jobs`"),
        ("UPDATE nowait_migrations SET version_num = '0000'", "the schema of jobs is 0000, 0005 is needed: "),
    ],
)
def test_one_line_says_what_is_missing_and_what_to_run(versions: Engine, change: str, says: str) -> None:
    with transaction(versions) as connection:
        connection.execute(text(change))
    said = shortcoming(versions)
    assert said is not None and said.startswith(says)
    assert "\n" not in said


def test_a_database_that_is_away_is_one_line_as_well() -> None:
    said = shortcoming(make_steps_engine("mysql://nobody@127.0.0.1:1/nothing"))
    assert said == "their schema could not be read: error 2003 of the database"
