"""A scheduler's statements, in a database."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from nowait.jobs.table import INIT_COMMAND
from nowait.schedules import protocol
from nowait.schedules.protocol import Move, Tick
from tasks.database import make_transactional_engine

NOON = datetime(2026, 6, 1, 12)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """In a transaction, which is rolled back."""
    engine = make_transactional_engine(database_url, INIT_COMMAND)
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "INSERT INTO schedules (name, job, queue, parameters, retry, every, enabled, overlap, catch_up, due,"
            " created, changed) VALUES ('s', 'j', 'q', '{}', '{}', 1, 1, 'allow', 'latest', %s, %s, %s)", (NOON,) * 3
        )
        yield connection
        connection.rollback()
    engine.dispose()


def carry_out(connection: Connection, *ticks: Tick) -> None:
    moves = [Move("", "s", ticks, NOON, NOON.replace(hour=13))]
    connection.execute(*protocol.insert(moves))
    connection.execute(*protocol.move(moves))


def made(connection: Connection) -> list[tuple[Any, ...]]:
    found = connection.exec_driver_sql("SELECT id, tick FROM jobs WHERE schedule = 's' ORDER BY tick")
    return [tuple(row) for row in found]


def test_the_last_job_is_that_of_the_last_tick_also_where_it_was_there(connection: Connection) -> None:
    one, two = Tick(NOON, "one"), Tick(NOON.replace(minute=1), "two")
    carry_out(connection, one, two)
    assert made(connection) == [("one", one.moment), ("two", two.moment)]
    last = "SELECT last_job, last_tick, due FROM schedules WHERE name = 's'"
    assert connection.exec_driver_sql(last).one() == ("two", NOON, NOON.replace(hour=13))
    carry_out(connection, Tick(NOON, "another"))
    assert len(made(connection)) == 2
    assert connection.exec_driver_sql(last).one().last_job == "one"
    carry_out(connection)
    assert connection.exec_driver_sql(last).one().last_job == "one"


def test_what_does_not_fit_is_an_error(connection: Connection) -> None:
    for job in ("x" * 37, "Zoë"):
        with pytest.raises(DBAPIError):
            carry_out(connection, Tick(NOON, job))
    assert made(connection) == []
