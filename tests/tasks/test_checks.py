"""Which queries can work in a real database, without running them."""

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from sqlalchemy import Engine, event, text

from deploy.local.process import free_port
from deploy.local.services import Services
from tasks.catalogue import Query, load
from tasks.checks import Checks, check
from tasks.database import make_engine
from tests.conftest import ROOT
from tests.tasks.test_statements import silence

QUERIES = """
-- name: good(flag)
SELECT * FROM users WHERE flag = :flag AND name LIKE '%?%' AND :flag >= 0

-- name: slow()
SELECT SLEEP(60)

-- name: paged(first, many)
SELECT id FROM users ORDER BY id LIMIT :first, :many

-- name: grouped(digits)
SELECT ROUND(score, :digits) AS rounded, COUNT(*) FROM users GROUP BY ROUND(score, :digits)

-- name: no_table()
SELECT * FROM films

-- name: no_column()
SELECT title FROM users

-- name: no_sql()
SELECT 1 FRM users
"""
TABLE = "".join(
    f'[{query}.parameters.{name}]\ntype = "integer"\n'
    for query, name in [("good", "flag"), ("paged", "first"), ("paged", "many"), ("grouped", "digits")]
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "some.sql").write_text(QUERIES)
    (tmp_path / "some.toml").write_text(TABLE)
    return tmp_path


@pytest.fixture
def queries(folder: Path) -> dict[str, Query]:
    return load(folder)


@pytest.fixture
def engine(services: Services) -> Iterator[Engine]:
    engine = make_engine(services.database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def films(engine: Engine) -> Iterator[Any]:
    """Creates a table, and drops it in the end."""

    def create() -> None:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE films (id INT PRIMARY KEY)"))

    yield create
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS films"))


BROKEN = {"no_table": "1146", "no_column": "1054", "no_sql": "1064"}


def test_a_check_finds_what_cannot_work_and_runs_nothing(engine: Engine, queries: dict[str, Query]) -> None:
    started = time.monotonic()
    findings = check(engine, queries.values())
    assert {name: reason.split()[0] for name, reason in findings.broken.items()} == BROKEN
    assert "films" in findings.broken["no_table"] and "\n" not in findings.broken["no_sql"]
    assert findings.unchecked.keys() <= {"grouped"}  # by MySQL, where the placeholders would not be the same value
    assert time.monotonic() - started < 30


COLUMNS = """
-- name: typed(number, amount, text, day)
SELECT :number + 1 AS number, :amount AS amount, :text AS text, DATE(:day) AS day, NULL AS nothing

-- name: sample(id)
SELECT id, name, score, balance, profile FROM users WHERE id = :id

-- name: change(id)
UPDATE users SET name = name WHERE id = :id
"""
COLUMNS_TABLE = """
[typed.parameters]
number = {type = "integer"}
amount = {type = "number"}
text = {type = "string"}
day = {type = "string", format = "date"}

[sample]
json_columns = ["profile"]
parameters.id = {type = "integer"}

[change.parameters]
id = {type = "integer"}
"""


def test_a_check_finds_the_types_of_the_rows_of_a_query(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "rows.sql").write_text(COLUMNS)
    (tmp_path / "rows.toml").write_text(COLUMNS_TABLE)
    rows = check(engine, load(tmp_path).values()).rows
    assert rows.keys() == {"typed", "sample"}
    of_sample, of_typed = rows["sample"]["properties"], rows["typed"]["properties"]
    assert of_sample == {
        "id": {"type": "integer"}, "name": {"type": "string"}, "score": {"type": ["number", "null"]},
        "balance": {"type": "string"}, "profile": {},
    }  # fmt: skip
    # Where a database knows that there is no NULL differs.
    values = {"number": 1, "amount": 0.5, "text": "", "day": "2000-01-01", "nothing": None}
    Draft202012Validator(rows["typed"]).validate(values)
    for name, other in {"number": 0.5, "amount": "", "text": 1, "day": 1}.items():
        assert not Draft202012Validator(of_typed[name]).is_valid(other)


def test_a_check_leaves_no_connection_in_the_pool(engine: Engine, queries: dict[str, Query]) -> None:
    opened: list[Any] = []
    closed: list[Any] = []
    event.listen(engine, "connect", lambda connection, _: opened.append(connection))
    event.listen(engine, "close", lambda connection, _: closed.append(connection))
    check(engine, queries.values())
    assert opened == closed != []


def test_a_check_is_not_held_up_by_a_table_that_is_locked(engine: Engine, queries: dict[str, Query]) -> None:
    with engine.connect() as connection:
        connection.execute(text("LOCK TABLES users WRITE"))
        findings = check(engine, [queries["good"], queries["no_table"]])
        connection.execute(text("UNLOCK TABLES"))
    assert findings.broken.keys() == {"no_table"}
    assert findings.unchecked.keys() <= {"good"}


def test_of_a_database_that_is_away_nothing_is_known(queries: dict[str, Query]) -> None:
    engine = make_engine(f"mysql://u:p@127.0.0.1:{free_port()}/d")
    findings = check(engine, queries.values())
    assert (findings.broken, findings.unchecked.keys()) == ({}, queries.keys())
    assert "cannot connect" in findings.unchecked["good"]


@pytest.mark.gen_test
async def test_a_database_that_is_silent_is_waited_for_some_seconds(
    services: Services, queries: dict[str, Query]
) -> None:
    async with silence(services.database_url) as database:
        database.proxy.stall(0)
        findings = await database.run(check, database.engine, queries.values())
    assert findings.unchecked.keys() == queries.keys()


def test_a_broken_query_is_logged_once_and_is_well_when_it_is_found_to_be(
    engine: Engine, queries: dict[str, Query], films: Any, caplog: pytest.LogCaptureFixture
) -> None:
    checks = Checks(engine, queries)
    with caplog.at_level(logging.INFO, "tasks"):
        checks.run()
        checks.run()
        lines = [line for line in caplog.messages if "cannot work" in line]
        assert sorted(line.split(":")[0] for line in lines) == [f"query {name} cannot work" for name in sorted(BROKEN)]
        assert {name for name in queries if checks.is_broken(name)} == BROKEN.keys()
        films()
        checks.run()
    assert {name for name in queries if checks.is_broken(name)} == {"no_column", "no_sql"}
    assert caplog.messages.count("query no_table works again") == 1


def test_a_query_that_has_given_its_rows_is_well(engine: Engine, queries: dict[str, Query]) -> None:
    checks = Checks(engine, queries)
    checks.run()
    checks.succeeded("no_table")
    assert not checks.is_broken("no_table")


def test_what_has_given_its_rows_is_described_as_soon_as_the_database_can(
    engine: Engine, queries: dict[str, Query], monkeypatch: pytest.MonkeyPatch
) -> None:
    away = make_engine(f"mysql://u:p@127.0.0.1:{free_port()}/d")
    found = iter([check(away, queries.values()), check(engine, queries.values())])
    monkeypatch.setattr("tasks.checks.check", lambda *_: next(found))
    checks = Checks(engine, queries)
    checks.run()
    checks.succeeded("good")
    checks.succeeded("no_table")
    assert checks.row("good") is None
    checks.run()
    assert checks.row("good") is not None
    assert not checks.is_broken("no_table")


def test_checks_are_renewed_in_the_background_and_not_at_every_turn(
    engine: Engine, queries: dict[str, Query], films: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = Checks(engine, queries)
    checks.run()
    films()
    checks.renew()
    assert checks.is_broken("no_table")
    monkeypatch.setattr("tasks.checks._PAUSE", 0.0)
    checks.renew()
    deadline = time.monotonic() + 30
    while checks.is_broken("no_table"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def run(*arguments: str, folder: Path, url: str) -> "subprocess.CompletedProcess[str]":
    """`python -m tasks`, with these queries and this database."""
    environment = {"NOWAIT_QUERIES": str(folder), "NOWAIT_DATABASE_URL": url}
    command = [sys.executable, "-m", "tasks", *arguments]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_the_command_names_what_cannot_work(folder: Path, services: Services) -> None:
    done = run("check", folder=folder, url=services.database_url)
    assert (done.returncode, done.stderr) == (1, "")
    *lines, last = done.stdout.splitlines()
    assert {line.split()[0] for line in lines} - {"grouped"} == BROKEN.keys()
    assert last.endswith("of 7 queries can work")


def test_the_command_is_content_with_the_sample(services: Services) -> None:
    done = run("check", folder=ROOT / "tasks/sql", url=services.database_url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 of 2 queries can work\n", "")


def test_the_command_fails_where_it_can_check_nothing(folder: Path) -> None:
    done = run("check", folder=folder, url=f"mysql://u:p@127.0.0.1:{free_port()}/d")
    assert done.returncode == 1
    assert "good could not be checked: 2003" in done.stdout


def test_a_bad_catalogue_is_another_error_than_a_broken_query(folder: Path, services: Services) -> None:
    (folder / "some.toml").write_text("[nobody]")
    done = run("check", folder=folder, url=services.database_url)
    assert (done.returncode, done.stdout) == (2, "")
    assert "parameters" in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"]])
def test_the_command_has_help(folder: Path, arguments: list[str]) -> None:
    done = run(*arguments, folder=folder, url="mysql://u:p@127.0.0.1/d")
    assert done.returncode == 0 and "check" in done.stdout
    assert run("nothing", folder=folder, url="mysql://u:p@127.0.0.1/d").returncode == 2
