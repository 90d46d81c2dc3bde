"""The migrations, in real databases: what they make, several at once, and behind one that was killed."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pymysql
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine

from deploy.local.process import Process, free_port
from deploy.local.services import Services
from nowait.database_url import DatabaseUrl
from nowait.jobs import migrations
from nowait.jobs.migrations import MigrationError, migrate
from nowait.jobs.schema import REVISION, VERSIONS, installed
from nowait.jobs.table import metadata
from tests.conftest import ROOT, Start, connect, in_state, printed

FOLDER = Path(migrations.__file__).parent


@pytest.fixture
def empty(services: Services) -> Iterator[str]:
    """The URL of an empty database."""
    url = DatabaseUrl.parse(services.database_url)
    name = f"{url.name}_{uuid4().hex[:8]}"
    options = {**url.options(), "database": None}
    if services.database is not None:
        socket = services.database.directory / "data/database.sock"
        password = urlsplit(services.database.url).password
        options = {"unix_socket": str(socket), "user": "root", "password": password}
    with pymysql.connect(**options) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        except pymysql.err.OperationalError as error:
            pytest.skip(f"the account of the given database may not create one: {error}")
        if services.database is not None:
            cursor.execute(f"GRANT ALL ON {name}.* TO {url.user}@'127.0.0.1'")
        yield services.database_url.removesuffix(url.name) + name
        cursor.execute(f"DROP DATABASE {name}")


def engine_connection(url: str) -> Connection:
    return create_engine("mysql+pymysql://", connect_args=DatabaseUrl.parse(url).options()).connect()


def tables(url: str) -> set[str]:
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW TABLES")
        return {name for (name,) in cursor.fetchall()}


def definition(url: str, table: str = "jobs") -> list[str]:
    """A table, as the database has it; keys may come in any order."""
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"SHOW CREATE TABLE {table}")
        return sorted(line.rstrip(",") for line in cursor.fetchone()[1].splitlines())


def program(*arguments: str, url: str = "") -> subprocess.CompletedProcess[str]:
    """`make migrate`"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NOWAIT_")}
    return subprocess.run(
        [sys.executable, "-m", "nowait.jobs", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60,
        env={**environment, "NOWAIT_DATABASE_URL": url},
    )  # fmt: skip


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_revision_that_the_code_needs_is_the_newest_one() -> None:
    scripts = ScriptDirectory(str(FOLDER))
    assert scripts.get_heads() == [REVISION]
    found = [script.revision for script in scripts.walk_revisions()]
    assert found == [f"{number:04}" for number in range(len(found), 0, -1)], "they are compared as text"


def test_a_revision_is_one_statement_that_changes_the_schema() -> None:
    changes = re.findall(r"^(?:CREATE|ALTER|DROP|RENAME) .*", migrations.script(), re.MULTILINE)
    assert len([change for change in changes if VERSIONS not in change]) == int(REVISION)


def test_the_migrations_make_the_table_that_the_code_uses(services: Services) -> None:
    def ours(name: str | None, kind: str, _parents: object) -> bool:
        return kind != "table" or name in metadata.tables

    options = {"version_table": VERSIONS, "include_name": ours}
    with engine_connection(services.database_url) as connection:
        assert connection.scalar(installed()) == REVISION
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def test_they_make_it_to_the_letter(empty: str) -> None:
    migrate(empty)
    migrated = {table: definition(empty, table) for table in metadata.tables}
    with engine_connection(empty) as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
    assert migrated == {table: definition(empty, table) for table in metadata.tables}


def test_they_can_be_taken_back(empty: str) -> None:
    migrate(empty)
    with engine_connection(empty) as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(FOLDER))
        command.downgrade(config, "base")
    assert tables(empty) == {VERSIONS}
    assert migrate(empty) == migrations.Migration(None, REVISION)


def test_several_at_once_migrate_an_empty_database_once(empty: str, start: Start) -> None:
    processes = [start("migrate", "nowait.jobs", database_url=empty) for _ in range(4)]
    for process in processes:
        until(lambda: process.returncode is not None)
    assert [process.returncode for process in processes] == [0] * 4, [printed(process) for process in processes]
    assert sorted(printed(process) for process in processes) == [
        *[f"the schema of jobs is {REVISION} already, nothing was changed\n"] * 3,
        f"the schema of jobs is {REVISION} now, it was missing\n",
    ]


def test_one_goes_on_where_another_was_killed(empty: str, start: Start) -> None:
    with connect(empty) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {VERSIONS} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        # The revision cannot be noted.
        cursor.execute(f"LOCK TABLES {VERSIONS} READ")
        killed: Process = start("migrate", "nowait.jobs", database_url=empty)
        until(lambda: in_state(connection, "Waiting for table metadata lock") == 1)
        killed.kill()
    assert tables(empty) == {"jobs", VERSIONS}
    assert migrations.revision(empty) is None
    assert migrate(empty) == migrations.Migration(None, REVISION)


def test_one_that_waits_in_vain_for_another_changes_nothing(empty: str) -> None:
    with connect(empty) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('nowait.migrate', 60)")
        with pytest.raises(MigrationError, match="another migration is under way"):
            migrate(empty, wait=0)
        assert tables(empty) == set()


def test_a_newer_schema_is_left_as_it_is(empty: str) -> None:
    migrate(empty)
    newer = f"{int(REVISION) + 1:04}"
    with connect(empty) as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {VERSIONS} SET version_num = %s", [newer])
    assert migrate(empty) == migrations.Migration(newer, newer)


def test_a_table_of_jobs_that_is_somebody_elses_is_left_as_it_is(empty: str) -> None:
    with connect(empty) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE jobs (owner INT, title TEXT)")
    done = program(url=empty)
    assert done.returncode == 1
    assert re.fullmatch(r"the database \w+ has a table jobs that is not Nowait's\n", done.stderr)
    assert migrations.revision(empty) is None
    assert [line for line in definition(empty) if "title" in line]


def test_the_statements_are_printed_for_those_who_run_them_themselves(empty: str) -> None:
    done = program("--sql")
    assert (done.returncode, done.stderr) == (0, "")
    with connect(empty) as connection, connection.cursor() as cursor:
        for statement in done.stdout.split(";"):
            if statement.strip():
                cursor.execute(statement)
    assert migrate(empty) == migrations.Migration(REVISION, REVISION)
    assert "CREATE TABLE" not in program("--sql", REVISION).stdout
    done = program("--sql", "nonsense")
    assert done.returncode == 1 and "nonsense" in done.stderr and "Traceback" not in done.stderr


def test_a_database_that_refuses_is_named_in_one_line_without_the_password() -> None:
    port = free_port()
    done = program(url=f"mysql://nobody:secret@127.0.0.1:{port}/nowait")
    assert done.returncode == 1
    assert re.fullmatch(rf"the database 127\.0\.0\.1:{port} cannot be used: .*\n", done.stderr)
    assert "secret" not in done.stderr


def test_the_help_names_the_setting() -> None:
    assert "NOWAIT_DATABASE_URL" in program("--help").stdout
