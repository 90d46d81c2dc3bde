"""Folders of SQL files, good and bad."""

import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tasks.catalogue import BadParameters, CatalogueError, Query, load
from tasks.parameters import Parameters
from tasks.settings import Settings
from tests.conftest import ROOT

USERS = "SELECT * FROM users WHERE flag = :flag AND name LIKE :name"
TABLE = """
[users]
queue = "queries.fast"
time_limit = 1.5
row_limit = 10
repeatable = false
[users.parameters.flag]
type = "integer"
minimum = 0
[users.parameters.name]
type = "string"
maxLength = 5
default = "%"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "users.sql").write_text(f"-- Some users.\n{USERS};\n")
    (tmp_path / "users.toml").write_text(TABLE)
    return tmp_path


def test_the_sample_is_a_good_catalogue() -> None:
    assert set(load(Settings.queries)) == {"users", "count_users"}


def test_a_file_with_one_statement_is_a_query_of_its_name(folder: Path) -> None:
    (query,) = load(folder).values()
    assert (query.name, query.description, str(query.statement)) == ("users", "Some users.", USERS)
    assert (query.queue, query.time_limit, query.row_limit, query.repeatable) == ("queries.fast", 1.5, 10, False)
    assert "SELECT" not in str(query.document())


def test_a_file_may_have_several_statements_and_no_table(tmp_path: Path) -> None:
    (tmp_path / "several.sql").write_text("-- name: one()\nSELECT 1\n\n-- name: two()\n-- The second.\nSELECT 2\n")
    queries = load(tmp_path)
    assert {name: query.description for name, query in queries.items()} == {"one": "", "two": "The second."}
    assert (queries["one"].queue, queries["one"].repeatable) == ("queries", True)


def test_servers_learn_whether_answers_may_be_shared_and_for_how_long_they_may_be_given_again(folder: Path) -> None:
    def listed(table: str) -> tuple[Any, ...]:
        (folder / "users.toml").write_text(table)
        document = load(folder)["users"].document()
        return document["cache"], document["coalesce"]

    assert listed(TABLE) == (0.0, False)  # it must not run twice
    assert listed(TABLE.replace("repeatable = false", "")) == (0.0, True)
    assert listed(TABLE.replace("repeatable = false", "cache = 5")) == (5, True)
    assert listed(TABLE.replace("repeatable = false", "cache = 0.5\ncoalesce = false")) == (0.5, False)


def test_a_query_has_another_revision_with_another_statement_or_table(folder: Path) -> None:
    def revision() -> str:
        return str(load(folder)["users"].document()["revision"])

    first = revision()
    assert first and revision() == first
    (folder / "users.sql").write_text(f"{USERS} LIMIT 1")
    second = revision()
    (folder / "users.toml").write_text(TABLE.replace("row_limit = 10", "row_limit = 11"))
    assert len({first, second, revision()}) == 3


def test_parameters_get_their_defaults(folder: Path) -> None:
    query = load(folder)["users"]
    assert query.bind({"flag": 1}) == {"flag": 1, "name": "%"}
    assert query.schema["required"] == ["flag"]


def test_an_integer_is_an_int_however_it_is_written() -> None:
    parameters = Parameters.of("page", {"limit": {"type": "integer", "default": 10.0}, "share": {"type": "number"}})
    found = [parameters.check({"limit": 3.0, "share": 3.0}), parameters.check({"share": 3.0}), parameters.sample()]
    assert [{name: repr(value) for name, value in values.items()} for values in found] == [
        {"limit": "3", "share": "3.0"}, {"limit": "10", "share": "3.0"}, {"limit": "10", "share": "0.0"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        {}, {"flag": "1"}, {"flag": True}, {"flag": None}, {"flag": -1}, {"flag": 1, "name": "too long"},
        {"flag": 1, "more": 1}, {"flag": [1]}, [], "flag", 1, {"flag": float("nan")},
    ],
)  # fmt: skip
def test_parameters_that_are_none_of_the_querys_are_refused(folder: Path, given: Any) -> None:
    with pytest.raises(BadParameters, match="users"):
        load(folder)["users"].bind(given)


FORMATS = """
SELECT :day AS day, :moment AS moment, :id AS id
""", """
[formats.parameters]
day = {type = "string", format = "date", default = "2024-02-29"}
moment = {type = "string", format = "date-time", default = "2024-02-29T12:00:00Z"}
id = {type = "string", format = "uuid", default = "123e4567-e89b-12d3-a456-426614174000"}
"""


@pytest.fixture
def formats(tmp_path: Path) -> Query:
    for path, text in zip(("formats.sql", "formats.toml"), FORMATS):
        (tmp_path / path).write_text(text)
    return load(tmp_path)["formats"]


@pytest.mark.parametrize("given", [{"day": "nonsense"}, {"day": 5}, {"moment": "2024-02-29"}, {"id": "1"}])
def test_a_text_without_the_format_of_its_parameter_is_refused(formats: Query, given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(BadParameters, match=f"^formats: {name}: (format|type)"):
        formats.bind(given)


def test_a_date_and_time_is_bound_as_one_of_utc(formats: Query) -> None:
    assert formats.bind({})["moment"] == datetime(2024, 2, 29, 12)
    bound = formats.bind({"moment": "2024-03-01T01:00:00.5+02:00", "day": "2024-01-01"})
    assert (bound["moment"], bound["day"]) == (datetime(2024, 2, 29, 23, 0, 0, 500_000), "2024-01-01")


def test_a_refusal_says_what_is_expected_and_not_what_was_given(folder: Path) -> None:
    with pytest.raises(BadParameters, match="^users: flag: type 'integer' is expected$"):
        load(folder)["users"].bind({"flag": "a secret", "name": "x"})


@pytest.mark.parametrize(
    ("sql", "table", "says"),
    [
        (USERS, "", "the statement has flag, name, the table none"),
        ("SELECT 1", TABLE, "the statement has none, the table flag, name"),
        (USERS, TABLE.replace("minimum = 0", "minimum = 'x'"), "'x' is not"),
        (USERS, TABLE.replace("minimum = 0", "minimum = -inf"), "finite numbers"),
        (USERS, TABLE.replace("minimum = 0", "enum = [2026-11-25]"), "finite numbers"),
        (USERS, TABLE.replace("time_limit = 1.5", "time_limit = inf"), "finite numbers"),
        ("-- name: übersicht()\nSELECT 1", "", "letters of ASCII"),
        (f"-- name: {'x' * 101}()\nSELECT 1", "", "letters of ASCII"),
        (USERS, TABLE.replace('"integer"', '"date"'), "'date' is not one of"),
        (USERS, TABLE.replace("maxLength", 'format = "ipv4"\nmaxLength'), "no ipv4; there is date, date-time, uuid"),
        (USERS, TABLE.replace("maxLength = 5", 'anyOf = [{format = "x"}]'), "no x; there is date, date-time, uuid"),
        (USERS, TABLE.replace("minimum = 0", 'format = "date"'), r"parameters.flag.type: 'string' was expected"),
        (USERS, TABLE.replace("maxLength = 5", 'format = "date"'), "'%' is not a 'date'"),
        (USERS, TABLE.replace("1.5", "0"), "time_limit"),
        (USERS, TABLE.replace("row_limit", "rows_limit"), "rows_limit"),
        (USERS, TABLE.replace('"%"', "7"), "7 is not of type 'string'"),
        (USERS, TABLE.replace("false", "false\ncache = 5"), "cache: seconds are expected, of a query that is"),
        (USERS, TABLE.replace("false", "true\ncache = nan"), "cache: seconds are expected"),
        (USERS, TABLE.replace("false", "true\ncache = 0"), "cache"),
        (USERS, TABLE.replace("false", "true\ncache = inf"), "cache"),
        (USERS, TABLE.replace("false", 'true\ncoalesce = "no"'), "coalesce"),
        (USERS, TABLE + "[nobody]\n", "no statement is called nobody"),
        (USERS, "[users", "Expected"),
        ("SELECT 1; SELECT 2", "", "one statement"),
        ("", "", "empty"),
        ("-- name: 1st()\nSELECT 1", "", "invalid query name"),
    ],
)
def test_a_query_that_cannot_be_served_is_named(tmp_path: Path, sql: str, table: str, says: str) -> None:
    (tmp_path / "users.sql").write_text(sql)
    (tmp_path / "users.toml").write_text(table)
    with pytest.raises(CatalogueError, match=says) as caught:
        load(tmp_path)
    assert str(tmp_path / "users") in str(caught.value)


def test_two_queries_of_one_name_are_refused(folder: Path) -> None:
    (folder / "more.sql").write_text("-- name: users()\nSELECT 1")
    with pytest.raises(CatalogueError, match="users: there is another query of that name"):
        load(folder)


@pytest.mark.parametrize(
    ("queries", "expected"), [("no-such-folder", "NOWAIT_QUERIES='no-such-folder' is not allowed"), (".", "users")]
)
def test_a_worker_with_a_bad_folder_ends_with_one_line(folder: Path, queries: str, expected: str) -> None:
    (folder / "users.toml").write_text("[nobody]")
    command = [sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv[1]); import tasks.app", str(ROOT)]
    done = subprocess.run(command, env={"NOWAIT_QUERIES": queries}, cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert expected in line
