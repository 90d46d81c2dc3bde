"""Rows that are read while the database gives them, on a real one."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import Engine, text

from deploy.local.services import Services
from nowait.errors import ResultTooLarge
from nowait.rows import encode_lines
from tasks.database import make_engine
from tasks.reading import Broken, Reading
from tasks.statements import QueryFailed
from tests.sequence import sequence

LIMITS: dict[str, Any] = {"repeatable": True, "row_limit": 1_000_000}


@pytest.fixture
def engine(services: Services) -> Iterator[Engine]:
    engine = make_engine(services.database_url)
    yield engine
    engine.dispose()


class Taken:
    """What was taken: the names, the rows, and how many came at a time."""

    def __init__(self) -> None:
        self.names: Sequence[str] = ()
        self.rows: list[tuple[Any, ...]] = []
        self.batches: list[int] = []

    def __call__(self, names: Sequence[str], columns: Sequence[Sequence[Any]]) -> None:
        self.names = names
        lines = encode_lines(names, columns).splitlines() if columns else []
        rows = [tuple(row.values()) for row in map(json.loads, lines)]
        self.rows += rows
        self.batches.append(len(rows))


def read(engine: Engine, sql: str, taken: Any, *, seconds: float = 60.0, **options: Any) -> None:
    Reading(engine, text(sql), {}).run(taken, deadline=time.monotonic() + seconds, **{**LIMITS, **options})


def ended(engine: Engine, mark: str) -> bool:
    """True once no statement with that mark runs: the database takes a moment to end one."""
    deadline = time.monotonic() + 10
    while running(engine, mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def running(engine: Engine, mark: str) -> int:
    """How many statements with that mark run."""
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT info FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND info IS NOT NULL")
        )
        return sum(mark in str(info) for info in found.scalars())


def test_all_rows_are_taken_many_at_a_time(engine: Engine) -> None:
    taken = Taken()
    read(engine, f"SELECT seq AS a, NULL AS b FROM {sequence(4)} AS s WHERE seq <= 5000", taken)
    assert (taken.names, sorted(taken.rows)) == (("a", "b"), [(number, None) for number in range(1, 5001)])
    assert max(taken.batches) > 100


def test_the_names_are_taken_where_there_is_no_row(engine: Engine) -> None:
    taken = Taken()
    read(engine, f"SELECT seq AS a FROM {sequence(1)} AS s WHERE seq < 0", taken)
    assert (taken.names, taken.rows, taken.batches) == (("a",), [], [0])


def test_more_rows_than_allowed_are_an_error_and_end_the_statement(engine: Engine) -> None:
    taken = Taken()
    with pytest.raises(ResultTooLarge):
        read(engine, f"SELECT 'too many' AS a, seq FROM {sequence(8)} AS s", taken, row_limit=1000)
    assert len(taken.rows) <= 1000
    assert ended(engine, "too many")


def test_whoever_takes_no_more_ends_the_statement(engine: Engine) -> None:
    def refuse(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        read(engine, f"SELECT 'left' AS a, seq FROM {sequence(8)} AS s", refuse)
    assert ended(engine, "left")
    # Its connection has gone with it, and the next one works.
    taken = Taken()
    read(engine, "SELECT 1 AS a", taken)
    assert taken.rows == [(1,)]


def test_a_statement_is_killed_by_another_thread_also_before_it_begins(engine: Engine) -> None:
    reading = Reading(engine, text("SELECT SLEEP(60) AS killed"), {})

    def kill() -> None:
        while not running(engine, "AS killed"):
            time.sleep(0.01)
        reading.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    for _ in range(2):
        with pytest.raises((Broken, QueryFailed)):
            reading.run(Taken(), deadline=time.monotonic() + 60, **LIMITS)
    killer.join()
    assert ended(engine, "AS killed")


def test_an_error_before_the_first_row_is_the_statements_and_one_behind_it_broken(engine: Engine) -> None:
    with pytest.raises(QueryFailed) as caught:
        read(engine, "SELECT nothing FROM users", Taken())
    assert not isinstance(caught.value, Broken)
    taken = Taken()
    late = (
        f"SELECT n.seq, (SELECT t.seq FROM {sequence(1)} AS t WHERE t.seq = 1 OR n.seq > 90000)"
        f" FROM {sequence(5)} AS n"
    )
    with pytest.raises(Broken):
        read(engine, late, taken)
    assert 0 < len(taken.rows) <= 90_000


def test_a_procedure_that_fails_behind_its_rows_is_broken(engine: Engine) -> None:
    with engine.connect() as connection:
        fails = "SIGNAL SQLSTATE '23000' SET MYSQL_ERRNO = 1062"
        connection.exec_driver_sql(f"CREATE PROCEDURE breaks() BEGIN SELECT 'begun' AS a; {fails}; END")
        try:
            with pytest.raises(Broken, match="error 1062 of the database after 1 rows"):
                read(engine, "CALL breaks()", Taken())
        finally:
            connection.exec_driver_sql("DROP PROCEDURE breaks")


def test_the_database_ends_it_at_its_deadline(engine: Engine) -> None:
    with pytest.raises(QueryFailed):
        # A sleep alone would end without an error in MySQL.
        late = f"SELECT MAX(a.seq + b.seq) AS late FROM {sequence(8)} AS a, {sequence(8)} AS b"
        read(engine, late, Taken(), seconds=0.5, repeatable=False)
    assert ended(engine, "AS late")
