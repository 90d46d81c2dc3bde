"""Statements within their time, on a real database."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from deploy.local.services import Services
from tasks.database import make_engine
from tasks.statements import OutOfTime, TooLarge, fetch


@pytest.fixture
def engine(services: Services) -> Iterator[Engine]:
    engine = make_engine(services.database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def locked(engine: Engine) -> Iterator[Connection]:
    """A connection that holds a row of its own; it lets go with rollback()."""
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE lockable (id INT PRIMARY KEY)"))
        connection.execute(text("INSERT INTO lockable VALUES (1)"))
        connection.commit()
        connection.execute(text("SELECT id FROM lockable FOR UPDATE"))
        yield connection
        connection.rollback()
        connection.execute(text("DROP TABLE lockable"))


# An answer at once instead of after 50 seconds; the error is the same.
WANTS_THE_LOCK = text("SELECT id FROM lockable FOR UPDATE NOWAIT")


def sleeping(connection: Connection) -> list[int]:
    """The connections that are asleep in a query."""
    found = connection.execute(text("SELECT id FROM information_schema.processlist WHERE state = 'User sleep'"))
    return list(found.scalars())


def number(error: pytest.ExceptionInfo[DBAPIError]) -> int:
    assert error.value.orig is not None
    return int(error.value.orig.args[0])


def test_rows_are_dicts(engine: Engine) -> None:
    assert fetch(engine, text("SELECT :a AS a, 2 AS b"), {"a": 1}, deadline=time.monotonic() + 60) == [{"a": 1, "b": 2}]


def test_the_database_ends_a_statement_at_its_deadline(engine: Engine) -> None:
    started = time.monotonic()
    with engine.connect() as connection:
        before = set(sleeping(connection))
        with pytest.raises(DBAPIError) as caught:
            fetch(engine, text("SELECT SLEEP(60)"), {}, deadline=time.monotonic() + 0.5, repeatable=True)
        assert number(caught) == 1969
        assert time.monotonic() - started < 30
        assert set(sleeping(connection)) <= before


def test_a_limit_is_that_of_one_statement(engine: Engine) -> None:
    fetch(engine, text("SELECT 1"), {}, deadline=time.monotonic() + 0.2)
    assert len(fetch(engine, text("SELECT SLEEP(0.5)"), {})) == 1


def test_nothing_is_begun_behind_the_deadline(engine: Engine) -> None:
    with pytest.raises(OutOfTime):
        fetch(engine, text("no SQL at all"), {}, deadline=time.monotonic() - 1)


def test_a_lock_is_waited_for_when_the_statement_may_run_again(engine: Engine, locked: Connection) -> None:
    timer = threading.Timer(0.4, locked.rollback)
    timer.start()
    try:
        assert fetch(engine, WANTS_THE_LOCK, {}, deadline=time.monotonic() + 60, repeatable=True) == [{"id": 1}]
    finally:
        timer.join()


def test_a_lock_is_waited_for_no_longer_than_the_deadline(engine: Engine, locked: Connection) -> None:
    with pytest.raises((DBAPIError, OutOfTime)):
        fetch(engine, WANTS_THE_LOCK, {}, deadline=time.monotonic() + 0.4, repeatable=True)


def test_a_statement_that_may_not_run_again_fails_at_once(engine: Engine, locked: Connection) -> None:
    with pytest.raises(DBAPIError) as caught:
        fetch(engine, WANTS_THE_LOCK, {}, deadline=time.monotonic() + 60)
    assert number(caught) == 1205


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_lost_connection_is_replaced_once_when_the_statement_may_run_again(engine: Engine, repeatable: bool) -> None:
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(fetch(engine, text("SELECT SLEEP(2) AS done"), {}, repeatable=repeatable))
        except DBAPIError as error:
            outcome.append(error.connection_invalidated)

    with engine.connect() as connection:
        others = set(sleeping(connection))
        thread = threading.Thread(target=run)
        thread.start()
        while not (mine := set(sleeping(connection)) - others):
            time.sleep(0.02)
        connection.execute(text(f"KILL {mine.pop()}"))
        thread.join()
    assert outcome == ([[{"done": 0}]] if repeatable else [True])


@pytest.mark.parametrize("limits", [{"row_limit": 1000}, {"byte_limit": 100_000}])
def test_a_result_over_its_limits_is_an_error_and_is_not_read_to_its_end(
    engine: Engine, limits: dict[str, int]
) -> None:
    endless = text("SELECT REPEAT('x', 1000) AS x FROM seq_1_to_1000000000")
    with pytest.raises(TooLarge, match="more than"):
        fetch(engine, endless, {}, deadline=time.monotonic() + 60, **limits)
    assert fetch(engine, text("SELECT 1 AS one"), {}) == [{"one": 1}]


def test_a_result_at_its_limit_is_whole(engine: Engine) -> None:
    assert len(fetch(engine, text("SELECT seq FROM seq_1_to_1000"), {}, row_limit=1000)) == 1000


def test_a_connection_that_is_lost_in_the_middle_of_a_result_is_told_as_such(engine: Engine) -> None:
    # Rows of 1000 bytes, every 20 ms: the first are being read when the connection ends.
    slow = text("SELECT REPEAT('x', 1000) AS x, SLEEP(0.02) AS s FROM seq_1_to_10000")
    outcome: list[Any] = []

    def run() -> None:
        try:
            fetch(engine, slow, {})
        except Exception as error:
            outcome.append(error)

    with engine.connect() as connection:
        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(2)
        found = text("SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT REPEAT%'")
        (victim,) = connection.execute(found).scalars()
        connection.execute(text(f"KILL {victim}"))
        thread.join()
    (error,) = outcome
    assert isinstance(error, DBAPIError) and error.connection_invalidated
