"""Variants of a scheduler's pass that are known to be wrong: each breaks a promise, and the check of it finds it.

The same course of events without the fault breaks none.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from deploy.local.database import Database
from nowait.jobs.migrations import migrate
from nowait.jobs.table import INIT_COMMAND
from nowait.schedules import protocol
from nowait.schedules.decisions import DueSchedule, Plan
from tasks import scheduler
from tasks.database import make_transactional_engine, transaction
from tests.conftest import connect
from tests.faults.jobs.stack import GivenDatabase
from tests.faults.jobs.test_failpoints import DEFAULTS
from tests.faults.jobs.ticks import TickJournal, broken
from tests.given import new_database


class Killed(Exception):
    """The scheduler is lost here: its transaction is rolled back."""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database | GivenDatabase]:
    """A database with the tables of jobs, and its own defaults for transactions."""
    with new_database() as given:
        database: Database | GivenDatabase = Database(tmp_path_factory.mktemp("known-bad"), options=list(DEFAULTS))
        if given is not None:
            database = GivenDatabase(given)
        try:
            database.start()
            database.wait_ready()
            migrate(database.url)
            yield database
        finally:
            database.stop()


@pytest.fixture
def engine(database: Database | GivenDatabase) -> Iterator[Engine]:
    """Of schedulers; there is one schedule, whose tick has come."""
    with connect(database.url) as connection, connection.cursor() as cursor:
        TickJournal(database.url).open()
        for table in ("jobs", "schedules", "editions"):
            cursor.execute(f"DELETE FROM {table}")
        cursor.execute(
            "INSERT INTO schedules (name, job, queue, parameters, retry, every, enabled, overlap, catch_up, due,"
            " created, changed)"
            " SELECT 's', 'j', 'q', '{}', '{}', 3600, 1, 'allow', 'latest', at, at, at - INTERVAL 3600 SECOND FROM"
            " (SELECT UTC_TIMESTAMP(6) AS at) AS now"
        )
        cursor.execute("UPDATE editions SET at = at - INTERVAL 60 SECOND")
    engine = make_transactional_engine(database.url, INIT_COMMAND)
    yield engine
    engine.dispose()


def one_pass(engine: Engine) -> None:
    """One look of one scheduler."""
    with transaction(engine) as connection:
        scheduler._pass(connection, 10)


def found(database: Database | GivenDatabase) -> list[str]:
    journal = TickJournal(database.url)
    editions, made = journal.read()
    return broken(editions, made, [], journal.now() + timedelta(seconds=3), timedelta(seconds=60))


def beside(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One scheduler looks, and another one while it decides."""
    others: list[int] = []

    class Beside(Plan):
        @classmethod
        def of(cls, schedules: Iterable[DueSchedule], unfinished: Collection[str], now: datetime) -> Plan:
            if not others:
                others.append(1)
                one_pass(engine)
            return super().of(schedules, unfinished, now)

    monkeypatch.setattr(scheduler, "Plan", Beside)
    one_pass(engine)
    assert others


def unlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job is added also where there is one."""
    statement = protocol._INSERT.text.partition("WHERE made.id IS NULL")[0]
    monkeypatch.setattr(protocol, "_INSERT", text(statement))


def unlock(monkeypatch: pytest.MonkeyPatch) -> None:
    statement: Any = protocol._DUE._generate()
    statement._for_update_arg = None
    monkeypatch.setattr(protocol, "_DUE", statement)


@pytest.mark.parametrize(
    ("locked", "looked", "unique", "good"),
    [
        (True, False, False, True),
        (False, True, False, True),
        (False, False, True, True),
        (False, False, False, False),
    ],
)
def test_two_that_look_at_once(
    database: Database | GivenDatabase,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    locked: bool,
    looked: bool,
    unique: bool,
    good: bool,
) -> None:
    """The lock is enough, and so is the look before the insert, where that one was faster; the key refuses the rest."""
    if not locked:
        unlock(monkeypatch)
    if not looked:
        unlooked(monkeypatch)
    with connect(database.url) as connection:
        if not unique:
            connection.cursor().execute("ALTER TABLE jobs DROP KEY tick, ADD KEY tick (owner, schedule, tick)")
        try:
            if locked or looked or not unique:
                beside(engine, monkeypatch)
            else:
                with pytest.raises(DBAPIError, match="Duplicate"):
                    beside(engine, monkeypatch)
            broken_ones = found(database)
        finally:
            if not unique:
                connection.cursor().execute("DELETE FROM jobs")
                again = "ALTER TABLE jobs DROP KEY tick, ADD UNIQUE KEY tick (owner, schedule, tick)"
                connection.cursor().execute(again)
    assert any("s: 2 jobs of the tick" in what for what in broken_ones) == bool(broken_ones) == (not good), broken_ones


@pytest.mark.parametrize("together", [True, False], ids=["one transaction", "two transactions"])
def test_one_that_is_lost_between_the_move_and_the_job(
    database: Database | GivenDatabase, engine: Engine, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    def moved_first(connection: Connection, *_: Any) -> Any:
        rows = connection.execute(*protocol.due(10)).all()
        plan = Plan.of(map(scheduler.due_schedule, rows), (), rows[0].now)
        connection.execute(*protocol.move(plan.moves))
        if not together:
            connection.commit()
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(scheduler, "_pass", moved_first)
        with pytest.raises(Killed):
            one_pass(engine)
    one_pass(engine)
    broken_ones = found(database)
    assert any("s: no job of the tick" in what for what in broken_ones) == bool(broken_ones) == (not together)


@pytest.mark.parametrize("looked", [True, False])
def test_a_tick_while_the_job_of_the_one_before_has_not_ended(
    database: Database | GivenDatabase, engine: Engine, monkeypatch: pytest.MonkeyPatch, looked: bool
) -> None:
    with connect(database.url) as connection:
        connection.cursor().execute("UPDATE schedules SET overlap = 'skip', every = 1, version = version + 1")
        connection.cursor().execute("UPDATE editions SET at = at - INTERVAL 60 SECOND, every = 1, overlap = 'skip'")
    if not looked:
        monkeypatch.setattr(scheduler, "last_jobs", lambda _: [])
    one_pass(engine)
    with connect(database.url) as connection:
        # As if that had been the tick before.
        connection.cursor().execute("UPDATE jobs SET tick = tick - INTERVAL 1 SECOND")
        connection.cursor().execute("UPDATE schedules SET due = due - INTERVAL 1 SECOND")
    one_pass(engine)
    overlapping = [what for what in found(database) if "had not ended" in what]
    assert bool(overlapping) == (not looked)


@pytest.mark.parametrize("changed", [False, True])
def test_a_job_that_is_not_as_its_schedule_has_it(
    database: Database | GivenDatabase, engine: Engine, changed: bool
) -> None:
    one_pass(engine)
    with connect(database.url) as connection:
        if changed:
            connection.cursor().execute("""UPDATE jobs SET parameters = '{"n": 1}'""")
    assert any("has {'n': 1}, not {}" in what for what in found(database)) == changed


def test_a_job_of_a_moment_that_is_no_tick(database: Database | GivenDatabase, engine: Engine) -> None:
    with connect(database.url) as connection:
        connection.cursor().execute("UPDATE schedules SET due = due - INTERVAL 3 SECOND")
    one_pass(engine)
    assert any("is no tick" in what for what in found(database))
