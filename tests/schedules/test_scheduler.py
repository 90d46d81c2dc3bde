"""What the scheduler makes of passes that fail."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import pytest
from celery import Celery
from pymysql.err import OperationalError

from nowait.schedules.decisions import Plan
from nowait.schedules.protocol import Edition
from tasks import scheduler
from tasks.scheduler import DatabaseScheduler

TOO_LONG, DEADLOCK, READ_ONLY = 2013, 1213, 1290  # errors of the database


class Passes:
    """Takes the place of scheduler._pass.

    Attributes:
        errors: numbers of what the next passes fail with.
        batches: of those that were.
        connections: that they had, by the database's ids.
    """

    def __init__(self) -> None:
        self.errors: list[int] = []
        self.batches: list[int] = []
        self.connections: list[int] = []

    def __call__(self, connection: Any, batch: int, without: Collection[Edition]) -> tuple[Plan, float]:
        self.batches.append(batch)
        self.connections.append(connection.connection.driver_connection.thread_id())
        if self.errors:
            raise OperationalError(self.errors.pop(0), "as the test has it")
        return Plan(), 0.5


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    passes = Passes()
    monkeypatch.setattr(scheduler, "_pass", passes)
    return passes


@pytest.fixture
def beat(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[DatabaseScheduler]:
    monkeypatch.setattr(scheduler, "settings", replace(scheduler.settings, database_url=database_url))
    beat = DatabaseScheduler(app=Celery(), lazy=True)
    yield beat
    beat._engine.dispose()


def test_a_pass_that_does_not_fit_into_its_time_is_tried_with_fewer_schedules(
    beat: DatabaseScheduler, passes: Passes
) -> None:
    passes.errors = [TOO_LONG] * 9
    assert [beat.tick() for _ in range(9)] == [1.0] * 9
    assert passes.batches == [200, 100, 50, 25, 12, 6, 3, 1, 1]
    passes.batches.clear()
    assert [beat.tick() for _ in range(10)] == [0.5] * 10
    assert passes.batches == [1, 2, 4, 8, 16, 32, 64, 128, 200, 200]


def test_a_pass_that_the_database_has_rolled_back_is_repeated_at_once_without_a_word(
    beat: DatabaseScheduler, passes: Passes, caplog: pytest.LogCaptureFixture
) -> None:
    passes.errors = [DEADLOCK]
    assert [beat.tick(), beat.tick()] == [0.0, 0.5]
    assert passes.batches == [200, 200] and not caplog.records
    passes.errors = [DEADLOCK] * 2
    assert [beat.tick(), beat.tick(), beat.tick()] == [0.0, 1.0, 0.5]
    assert [record.getMessage() for record in caplog.records] == [
        "no schedule is looked after: error 1213 of the database",
        "schedules are looked after again",
    ]


def test_behind_an_error_the_database_is_looked_up_by_its_name_again(
    beat: DatabaseScheduler, passes: Passes
) -> None:
    passes.errors = [READ_ONLY]
    for _ in range(3):
        beat.tick()
    first, second, third = passes.connections
    assert first != second == third
