"""Named queries as jobs."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nowait.jobs.retry import Retry
from nowait.jobs.table import State
from tasks.catalogue import CatalogueError, Query, load
from tasks.database import transaction
from tasks.jobs.job import Job
from tasks.jobs.queries import definition_of
from tasks.jobs.registry import Definition
from tests.sequence import sequence
from tests.tasks.jobs import Table

Load = Callable[..., Query]


@pytest.fixture
def query(tmp_path: Path) -> Load:
    """Makes a query of its SQL, and of the parameters' types."""

    def make(sql: str, head: str = "", **types: str) -> Query:
        (tmp_path / "test.sql").write_text(sql)
        parameters = "".join(f'[test.parameters.{name}]\ntype = "{kind}"\n' for name, kind in types.items())
        (tmp_path / "test.toml").write_text(f"[test]\njob = true\n{head}\n{parameters}")
        return load(tmp_path)["test"]

    return make


@pytest.fixture
def procedures(table: Table) -> Iterator[None]:
    """Procedures that write: one that gives rows, too, and one that commits."""
    table.execute(
        "CREATE PROCEDURE with_rows(id CHAR(36)) BEGIN INSERT INTO effects VALUES (id, 1); SELECT 'one' AS a; "
        "SELECT 'two' AS b; INSERT INTO effects VALUES (id, 2); END"
    )
    table.execute("CREATE PROCEDURE without(id CHAR(36)) BEGIN INSERT INTO effects VALUES (id, 1), (id, 2); END")
    table.execute("CREATE PROCEDURE committing(id CHAR(36)) BEGIN INSERT INTO effects VALUES (id, 1); COMMIT; END")
    yield
    for name in ("with_rows", "without", "committing"):
        table.execute(f"DROP PROCEDURE {name}")


def run(table: Table, definition: Definition, **parameters: Any) -> tuple[State | None, str]:
    """The state of a job with these parameters, and its id, which is one of them if one is called `job`."""
    job_id = table.add()
    if "job" in parameters:
        parameters["job"] = job_id
    table.execute(f"UPDATE jobs SET parameters = '{json.dumps(parameters)}' WHERE id = '{job_id}'")
    return table.attempt(job_id, 1, definition).run(), job_id


def test_a_query_is_a_job_where_its_table_has_it(query: Load) -> None:
    settings = 'job_time_limit = 7200.0\nqueue = "queries.fast"\n[test.retry]\nmax_retries = 3\nbackoff = 2.5'
    definition = definition_of(query("-- What it is.\nSELECT :flag AS flag", settings, flag="integer"))
    assert (definition.name, definition.description, definition.queue) == ("test", "What it is.", "queries.jobs")
    assert (definition.time_limit, definition.retry) == (7200.0, Retry(max_retries=3, backoff=2.5))
    assert definition.document()["once"] is True


def test_a_job_that_writes_is_no_query_that_a_get_would_run(query: Load) -> None:
    with pytest.raises(CatalogueError, match="repeatable = false is expected of a statement that is no SELECT"):
        query("DELETE FROM effects")


def test_the_rows_of_a_query_are_the_result(table: Table, query: Load) -> None:
    sql = "SELECT id, name, balance FROM users WHERE flag = :flag ORDER BY id"
    state, job_id = run(table, definition_of(query(sql, flag="integer")), flag=1)
    assert state is State.SUCCEEDED
    rows = json.loads(table.row(job_id).result)
    assert len(rows) == 10
    assert rows[0] == {"id": 2, "name": "Børge 2", "balance": "-6171600433.4999"}


def test_an_integer_is_one_to_the_database_however_it_is_written(table: Table, query: Load) -> None:
    definition = definition_of(query("SELECT id FROM users ORDER BY id LIMIT :number", number="integer"))
    for number in (3, 3.0):
        state, job_id = run(table, definition, number=number)
        assert state is State.SUCCEEDED
        assert table.row(job_id).result == '[{"id":1},{"id":2},{"id":3}]'


def test_a_query_has_the_limit_of_its_transaction_and_leaves_it_as_it_is(table: Table, query: Load) -> None:
    sql = "SELECT info AS sent FROM information_schema.processlist WHERE id = CONNECTION_ID()"
    state, job_id = run(table, definition_of(query(sql)))
    assert (state, json.loads(table.row(job_id).result)) == (State.SUCCEEDED, [{"sent": sql}])
    run(table, definition_of(query("DO 0", "repeatable = false")))
    with transaction(table.jobs_engine) as connection:
        is_mariadb = getattr(connection.dialect, "is_mariadb", False)
        limit = "@@max_statement_time * 1000" if is_mariadb else "@@max_execution_time"
        assert connection.exec_driver_sql(f"SELECT {limit}").scalar_one() == connection.info["nowait.limit"]


def test_a_query_that_its_job_looks_after_for_long_gives_all_of_its_rows(
    table: Table, query: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[Job.__module__], "_LONGEST_SILENCE", 0.0)
    state, job_id = run(table, definition_of(query(f"SELECT seq FROM {sequence(5)} AS s")))
    assert state is State.SUCCEEDED
    assert sorted(row["seq"] for row in json.loads(table.row(job_id).result)) == list(range(1, 100_001))


def test_no_rows_are_an_empty_array(table: Table, query: Load) -> None:
    state, job_id = run(table, definition_of(query("SELECT id FROM users WHERE FALSE")))
    assert (state, table.row(job_id).result) == (State.SUCCEEDED, "[]")


def test_a_statement_that_writes_does_so_with_the_jobs_end(table: Table, query: Load) -> None:
    writes = query("INSERT INTO effects VALUES (:job, 1), (:job, 2)", "repeatable = false", job="string")
    state, job_id = run(table, definition_of(writes), job="")
    assert (state, table.row(job_id).result) == (State.SUCCEEDED, '{"affected":2}')
    assert table.effects(job_id) == [1, 2]


@pytest.mark.parametrize(("name", "result"), [("with_rows", '[{"a":"one"}]'), ("without", '{"affected":2}')])
def test_a_procedure_is_called(table: Table, query: Load, procedures: None, name: str, result: str) -> None:
    calls = query(f"CALL {name}(:job)", "repeatable = false", job="string")
    state, job_id = run(table, definition_of(calls), job="")
    assert (state, table.row(job_id).result) == (State.SUCCEEDED, result)
    assert table.effects(job_id) == [1, 2]


def test_a_procedure_that_commits_is_no_job(table: Table, query: Load, procedures: None) -> None:
    calls = query("CALL committing(:job)", "repeatable = false", job="string")
    state, job_id = run(table, definition_of(calls), job="")
    assert state is State.FAILED


def test_rows_are_kept_up_to_four_mebibytes(table: Table, query: Load) -> None:
    definition = definition_of(query("SELECT REPEAT('x', 1000000) AS x FROM users LIMIT :number", number="integer"))
    state, job_id = run(table, definition, number=4)
    assert state is State.SUCCEEDED
    assert len(table.row(job_id).result) > 4_000_000
    state, job_id = run(table, definition, number=5)
    assert state is State.FAILED
    assert table.row(job_id).error["type"].endswith(":result-too-large")
    # The connection is not left with rows that nobody reads.
    assert run(table, definition, number=1)[0] is State.SUCCEEDED


def test_a_query_that_the_database_refuses_fails(table: Table, query: Load) -> None:
    state, job_id = run(table, definition_of(query("SELECT nothing FROM nowhere")))
    assert state is State.FAILED
    assert table.row(job_id).error["type"].endswith(":task-failed")
