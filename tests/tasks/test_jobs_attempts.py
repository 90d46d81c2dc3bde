"""Attempts of jobs on a real database."""

import gc
import json
import logging
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pymysql
import pytest
from sqlalchemy import text
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError

from nowait.jobs import protocol
from nowait.jobs.retry import Retry
from nowait.jobs.table import State
from tasks import driver
from tasks.database import transaction
from tasks.jobs import attempt, failures, heartbeat, lease, steps
from tasks.jobs.job import Job
from tasks.jobs.lease import LeaseLost
from tests.sequence import sequence
from tests.tasks.jobs import Table, defined, effect, later

URN = "urn:problem-type:nowait:"


@pytest.fixture(autouse=True)
def lockable(table: Table) -> Iterator[None]:
    """A table with two rows."""
    table.execute("CREATE TABLE lockable (id INT PRIMARY KEY)")
    table.execute("INSERT INTO lockable VALUES (1), (2)")
    yield
    table.execute("DROP TABLE lockable")


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    """Runs an attempt while the test does something to it."""
    with ThreadPoolExecutor(4) as executor:
        yield executor


def wait_until(condition: Any, seconds: float = 30.0) -> None:
    """Wait for something that comes."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def locked(table: Table) -> Iterator[None]:
    """Holds what wait_for_lock() waits for. Unlike SLEEP(), a lock wait does not end with the client."""
    with transaction(table.steps_engine) as connection:
        connection.execute(text("SELECT id FROM lockable FOR UPDATE"))
        yield


def wait_for_lock(job: Job) -> None:
    """Have an effect, and be in a statement that does not end."""
    effect(job)
    job.connection.execute(text("SELECT id FROM lockable FOR UPDATE"))


def go_on(job: Job) -> None:
    """Do nothing, until the attempt is over."""
    end = time.monotonic() + 40
    while time.monotonic() < end:
        job.check()
        time.sleep(0.02)


def waiting(table: Table) -> bool:
    """True while a job waits for the lock."""
    statements = "info LIKE '%SELECT id FROM lockable%' AND id <> CONNECTION_ID()"
    return bool(table.execute(f"SELECT id FROM information_schema.processlist WHERE {statements}"))


# What a job does, and how it ends.


def test_the_effects_and_the_result_of_a_job_are_committed_at_once(table: Table) -> None:
    def function(job: Job, number: int) -> Any:
        effect(job)
        assert table.effects(job.id) == []
        assert table.row(job.id).state == "running"
        return {"number": number}

    job_id = table.add(parameters={"number": 7})
    assert table.run(job_id, function, parameters={"number": {"type": "integer"}}) is State.SUCCEEDED
    row = table.row(job_id)
    assert (row.state, row.attempt, row.failures, row.worker) == ("succeeded", 1, 0, "this")
    assert json.loads(row.result) == {"number": 7}
    assert row.created <= row.started <= row.finished
    assert table.effects(job_id) == [1]


def test_an_attempt_leaves_nothing_to_the_garbage_collector(table: Table) -> None:
    job_id = table.add()
    attempt = table.attempt(job_id, 1, defined(effect))
    left = weakref.ref(attempt)
    gc.disable()
    try:
        assert attempt.run() is State.SUCCEEDED
        del attempt
        wait_until(lambda: left() is None)  # the thread of its heartbeat has ended
    finally:
        gc.enable()


def test_the_transaction_is_read_committed_and_its_connection_does_not_stay_for_long(table: Table) -> None:
    def function(job: Job) -> Any:
        # MariaDB's name before 11.1, and that of both databases.
        levels = job.connection.execute(text("SHOW SESSION VARIABLES LIKE 't%\\_isolation'")).all()
        return [{level for _, level in levels} == {"READ-COMMITTED"}, variable(job, "wait_timeout")]

    def variable(job: Job, name: str) -> Any:
        return job.connection.execute(text(f"SELECT @@{name}")).scalar()

    job_id = table.add()
    table.run(job_id, function)
    assert json.loads(table.row(job_id).result) == [True, 120]


def test_a_message_for_an_attempt_that_the_job_does_not_wait_for_is_dropped(table: Table) -> None:
    def claims(number: int) -> bool:
        return steps.claim(table.steps_engine, job_id, number, "this") is not None

    job_id = table.add()
    assert not claims(2)
    assert claims(1)
    assert not claims(1), "it came twice"
    assert not claims(2), "it runs"
    table.execute(*protocol.retry(job_id, 1, 60, "task-failed"))
    assert not claims(1), "it came late"
    assert not claims(2), "its time has not come"


def test_a_job_is_begun_neither_before_its_eta_nor_when_it_has_expired(table: Table) -> None:
    for times in ({"eta": later(60)}, {"expires": later(-1)}):
        assert steps.claim(table.steps_engine, table.add(**times), 1, "this") is None
    for times in ({"eta": later(-1)}, {"expires": later(60)}):
        assert steps.claim(table.steps_engine, table.add(**times), 1, "this") is not None


def test_a_job_that_raises_has_no_effects_and_clients_learn_no_text_of_it(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    def function(job: Job) -> None:
        effect(job)
        raise ValueError("a secret")

    job_id = table.add()
    assert table.run(job_id, function) is State.FAILED
    row = table.row(job_id)
    assert (row.state, row.attempt, row.failures, row.result) == ("failed", 1, 1, None)
    assert row.error["type"] == f"{URN}task-failed"
    assert row.error.keys() == {"type", "title", "detail"}
    assert "secret" not in json.dumps(row.error)
    assert table.effects(job_id) == []
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert f"Attempt 1 of test {job_id}" in record.getMessage()
    assert record.exc_info is not None and "a secret" in str(record.exc_info[1])


def test_a_job_that_raises_waits_for_its_next_attempt_as_long_as_there_is_one(table: Table) -> None:
    def function(job: Job) -> None:
        raise ValueError

    job_id = table.add(retry=Retry(max_retries=2, backoff=100.0, backoff_max=150.0))
    for number, seconds in ((1, 100.0), (2, 150.0)):
        assert table.run(job_id, function, number) is State.QUEUED
        row = table.row(job_id)
        assert (row.state, row.attempt, row.failures) == ("queued", number, number)
        assert (row.history[-1]["attempt"], row.history[-1]["reason"]) == (number, "task-failed")
        assert row.due == row.eta
        assert seconds / 2 - 30 < row.left_ <= seconds
        table.execute(f"UPDATE jobs SET eta = NULL WHERE id = '{job_id}'")
    assert table.run(job_id, function, 3) is State.FAILED
    assert (table.row(job_id).state, table.row(job_id).failures) == ("failed", 3)


def test_lost_workers_are_none_of_the_retries_of_a_job_that_is_tried_again(table: Table) -> None:
    def function(job: Job) -> None:
        raise ValueError

    job_id = table.add(retry=Retry(max_retries=1, backoff=100.0))
    table.execute(f"UPDATE jobs SET state = 'failed', attempt = 6 WHERE id = '{job_id}'")
    again = str(protocol.reopen(job_id, "").compile(dialect=mysql.dialect(), compile_kwargs={"literal_binds": True}))
    table.execute(again)
    assert table.run(job_id, function, 7) is State.QUEUED
    assert table.row(job_id).failures == 1


@pytest.mark.parametrize(("value", "kind"), [("x" * 5_000_000, "result-too-large"), (object(), "no-result")])
def test_a_result_that_cannot_be_kept_fails_the_job_for_good(table: Table, value: Any, kind: str) -> None:
    def function(job: Job) -> Any:
        effect(job)
        return value

    job_id = table.add(retry=Retry(max_retries=5))
    assert table.run(job_id, function) is State.FAILED
    assert table.row(job_id).error["type"] == URN + kind
    assert table.effects(job_id) == []


def test_a_result_of_four_mebibytes_is_kept(table: Table) -> None:
    job_id = table.add()
    assert table.run(job_id, lambda job: "'" * (4 * 1024 * 1024 - 2)) is State.SUCCEEDED
    assert len(table.row(job_id).result) == 4 * 1024 * 1024


def test_a_job_that_this_worker_does_not_have_is_tried_again(table: Table) -> None:
    job_id = table.add(retry=Retry(max_retries=1))
    assert table.attempt(job_id, 1, None).run() is State.QUEUED
    table.execute(f"UPDATE jobs SET eta = NULL WHERE id = '{job_id}'")
    assert table.attempt(job_id, 2, None).run() is State.FAILED
    assert table.row(job_id).error["type"] == f"{URN}no-job"


def test_parameters_are_validated_again(table: Table) -> None:
    job_id = table.add(parameters={"number": "7"})
    assert table.run(job_id, lambda job, number: number, parameters={"number": {"type": "integer"}}) is State.FAILED
    assert table.row(job_id).error["type"] == f"{URN}bad-parameters"


def test_a_check_between_rows_drops_none_of_them(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    def function(job: Job) -> int:
        streamed = job.connection.execution_options(stream_results=True)
        count = 0
        for _ in streamed.execute(text(f"SELECT seq FROM {sequence(4)} AS s")):
            job.check()
            count += 1
        return count

    monkeypatch.setattr(sys.modules[Job.__module__], "_LONGEST_SILENCE", 0.0)
    job_id = table.add()
    assert table.run(job_id, function) is State.SUCCEEDED
    assert table.row(job_id).result == "10000"


def test_a_check_uses_a_connection_that_was_silent_for_long(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    def function(job: Job) -> None:
        effect(job)
        job.check()
        kill_connection(table, job)
        with pytest.raises(DBAPIError):
            job.check()
        raise ValueError

    monkeypatch.setattr(sys.modules[Job.__module__], "_LONGEST_SILENCE", 0.0)
    assert table.run(table.add(), function) is State.FAILED


# The transaction is the worker's.


@pytest.mark.parametrize("ending", ["commit", "rollback"])
def test_a_function_that_ends_its_transaction_fails_and_nothing_is_committed(table: Table, ending: str) -> None:
    def function(job: Job) -> None:
        effect(job)
        getattr(job.connection, ending)()

    job_id = table.add(retry=Retry(max_retries=5))
    assert table.run(job_id, function) is State.FAILED
    assert table.effects(job_id) == []
    # Nor is anything left open.
    assert table.run(table.add(), lambda job: None) is State.SUCCEEDED
    assert table.effects(job_id) == []


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK", "CREATE TABLE IF NOT EXISTS lockable (id INT)"])
def test_statements_that_end_the_transaction_fail_the_job_for_good(
    table: Table, statement: str, caplog: pytest.LogCaptureFixture
) -> None:
    def function(job: Job) -> None:
        job.connection.execute(text(statement))

    assert table.run(table.add(retry=Retry(max_retries=5)), function) is State.FAILED
    assert "TransactionEnded" in caplog.text


def test_a_function_may_have_savepoints_and_temporary_tables(table: Table) -> None:
    def function(job: Job) -> None:
        effect(job)
        job.connection.execute(text("CREATE TEMPORARY TABLE mine (id INT)"))
        with job.connection.begin_nested() as nested:
            effect(job)
            nested.rollback()
        job.connection.execute(text("DROP TEMPORARY TABLE mine"))

    job_id = table.add()
    assert table.run(job_id, function) is State.SUCCEEDED
    assert table.effects(job_id) == [1]


def test_a_deadlock_that_the_function_does_not_pass_on_is_no_success(table: Table) -> None:
    def function(job: Job) -> str:
        effect(job)
        with pytest.raises(DBAPIError):
            deadlock(table, job)
        return "as if nothing had been"

    job_id = table.add()
    assert table.run(job_id, function) is State.FAILED
    assert table.effects(job_id) == []


def deadlock(table: Table, job: Job) -> None:
    """Have the job's transaction be the victim of a deadlock: it has changed less than the other one."""
    with transaction(table.steps_engine) as other:
        other.execute(text("INSERT INTO effects SELECT '', id FROM users LIMIT 100"))
        other.execute(text("SELECT * FROM lockable WHERE id = 1 FOR UPDATE"))
        job.connection.execute(text("SELECT * FROM lockable WHERE id = 2 FOR UPDATE"))
        waits = threading.Thread(target=other.execute, args=[text("SELECT * FROM lockable WHERE id = 2 FOR UPDATE")])
        waits.start()
        try:
            job.connection.execute(text("SELECT * FROM lockable WHERE id = 1 FOR UPDATE"))
        finally:
            waits.join()
            other.rollback()


# What stands in the way within an attempt.


def test_a_deadlock_has_the_function_run_again_within_the_attempt(table: Table) -> None:
    runs: list[int] = []

    def function(job: Job) -> None:
        effect(job)
        runs.append(job.attempt)
        if len(runs) < 3:
            deadlock(table, job)

    job_id = table.add()
    assert table.run(job_id, function) is State.SUCCEEDED
    assert runs == [1, 1, 1]
    assert table.effects(job_id) == [1]


def test_an_attempt_that_always_meets_a_lock_fails(table: Table) -> None:
    runs: list[int] = []

    def function(job: Job) -> None:
        runs.append(job.attempt)
        job.connection.execute(text("SELECT * FROM lockable FOR UPDATE NOWAIT"))

    job_id = table.add()
    with transaction(table.steps_engine) as other:
        other.execute(text("SELECT * FROM lockable FOR UPDATE"))
        assert table.run(job_id, function) is State.FAILED
    assert runs == [1] * attempt._TRIES


def test_a_lost_connection_has_the_function_run_again_once(table: Table) -> None:
    runs: list[int] = []

    def function(job: Job) -> None:
        effect(job)
        runs.append(job.attempt)
        kill_connection(table, job)
        job.connection.execute(text("SELECT 1"))

    job_id = table.add()
    assert table.run(job_id, function) is State.FAILED
    assert runs == [1, 1]
    assert table.effects(job_id) == []


def test_a_database_that_is_about_to_stop_has_the_function_run_again_on_another_connection(table: Table) -> None:
    connections: list[int] = []

    def function(job: Job) -> None:
        effect(job)
        driven: Any = job.connection.connection.driver_connection
        connections.append(driven.thread_id())
        if len(connections) == 1:
            job.connection.execute(text("SIGNAL SQLSTATE '08S01' SET MYSQL_ERRNO = 1053"))

    job_id = table.add()
    assert table.run(job_id, function) is State.SUCCEEDED
    assert len(set(connections)) == 2
    assert table.effects(job_id) == [1]


def kill_connection(table: Table, job: Job) -> None:
    connection: Any = job.connection.connection.driver_connection
    table.execute(f"KILL {connection.thread_id()}")


def test_a_pooled_connection_that_the_database_has_closed_is_replaced(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[int] = []

    def remember(job: Job) -> None:
        connection: Any = job.connection.connection.driver_connection
        runs.append(connection.thread_id())

    assert table.run(table.add(), remember) is State.SUCCEEDED
    table.execute(f"KILL {runs[0]}")
    with caplog.at_level(logging.INFO):
        assert table.run(table.add(), remember) is State.SUCCEEDED
    assert len(set(runs)) == 2
    assert "tried again" not in caplog.text


# The answer to COMMIT.


def test_a_commit_whose_answer_is_lost_is_looked_up(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_commits(monkeypatch, committed=True)
    job_id = table.add()
    assert table.run(job_id, effect) is State.SUCCEEDED
    assert table.row(job_id).state == "succeeded"
    assert table.effects(job_id) == [1]


def test_a_commit_that_did_not_arrive_is_left_to_the_lease(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []

    def function(job: Job) -> None:
        effect(job)
        runs.append(job.attempt)

    lose_commits(monkeypatch, committed=False)
    job_id = table.add()
    assert table.run(job_id, function) is None
    row = table.row(job_id)
    assert (row.state, row.attempt, row.failures) == ("running", 1, 0)
    assert (runs, table.effects(job_id)) == ([1], [])


def lose_commits(monkeypatch: pytest.MonkeyPatch, committed: bool) -> None:
    """Have the connection be lost with the next COMMIT of an attempt's end."""
    commit = driver._Connection.commit
    finish = attempt.Attempt._finish
    finishing: list[object] = []

    def lost(connection: Any) -> None:
        if not finishing:
            commit(connection)
            return
        finishing.clear()
        if committed:
            commit(connection)
        connection._force_close()
        raise pymysql.err.OperationalError(2013, "Lost connection")

    def with_loss(self: attempt.Attempt, connection: Any, result: str) -> None:
        finishing.append(self)
        finish(self, connection, result)

    monkeypatch.setattr(driver._Connection, "commit", lost)
    monkeypatch.setattr(attempt.Attempt, "_finish", with_loss)


# Fences: each of these has lost its job meanwhile.


def test_a_zombie_that_finishes_has_no_effects(table: Table) -> None:
    def function(job: Job) -> str:
        effect(job)
        table.take_over(job.id)
        return "late"

    job_id = table.add()
    assert table.run(job_id, function) is None
    row = table.row(job_id)
    assert (row.state, row.attempt, row.worker, row.result) == ("running", 2, "another", None)
    assert table.effects(job_id) == []


def test_a_zombie_that_fails_does_not_fail_its_successor(table: Table) -> None:
    def function(job: Job) -> None:
        table.take_over(job.id)
        raise ValueError

    for retry in (Retry(), Retry(max_retries=3)):
        job_id = table.add(retry=retry)
        assert table.run(job_id, function) is None
        row = table.row(job_id)
        assert (row.state, row.attempt, row.failures, row.worker) == ("running", 2, 0, "another")


def test_a_zombie_neither_keeps_its_successors_lease_nor_reports(table: Table) -> None:
    ended: list[BaseException] = []

    def function(job: Job) -> None:
        table.take_over(job.id)
        taken.append(table.row(job.id))
        job.progress("a zombie's")
        try:
            go_on(job)
        except LeaseLost as error:
            ended.append(error)
            raise

    taken: list[Any] = []
    job_id = table.add()
    assert table.run(job_id, function) is None
    row = table.row(job_id)
    assert (row.due, row.version, row.progress) == (taken[0].due, taken[0].version, None)
    assert len(ended) == 1


def test_a_zombie_that_goes_on_whatever_it_is_warned_of_runs_no_further_statement(table: Table) -> None:
    refused: list[Exception] = []

    def function(job: Job) -> str:
        effect(job)
        table.take_over(job.id)
        end = time.monotonic() + 30
        while not refused and time.monotonic() < end:
            try:
                job.connection.execute(text("SELECT SLEEP(0.1)"))
            except Exception as error:
                refused.append(error)
        return "late"

    job_id = table.add()
    assert table.run(job_id, function) is None
    assert len(refused) == 1
    assert table.effects(job_id) == []


def test_a_zombie_gets_no_transaction(table: Table) -> None:
    def function(job: Job) -> None:
        table.take_over(job.id)
        with pytest.raises(LeaseLost):
            go_on(job)
        with pytest.raises(LeaseLost):
            effect(job)

    assert table.run(table.add(), function) is None


def test_a_cancel_ends_the_statement_and_its_effects(
    table: Table, locked: None, elsewhere: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is not the end of the lease that ends it.
    monkeypatch.setattr(lease, "LEASE", 3600.0)
    job_id = table.add()
    running = elsewhere.submit(table.run, job_id, wait_for_lock)
    wait_until(lambda: waiting(table))
    table.cancel(job_id)
    wait_until(lambda: not waiting(table))
    assert running.result(30) is None
    assert (table.row(job_id).state, table.row(job_id).failures) == ("cancelled", 0)
    assert table.effects(job_id) == []


def test_a_job_that_is_cancelled_at_the_last_moment_has_no_effects(table: Table) -> None:
    def function(job: Job) -> None:
        effect(job)
        table.cancel(job.id)

    job_id = table.add()
    assert table.run(job_id, function) is None
    assert (table.row(job_id).state, table.effects(job_id)) == ("cancelled", [])


def test_a_time_limit_ends_the_statement_and_the_attempt(table: Table, locked: None) -> None:
    job_id = table.add()
    assert table.run(job_id, wait_for_lock, time_limit=0.5) is State.FAILED
    assert table.row(job_id).error["type"] == f"{URN}time-limit"
    assert not waiting(table)
    assert table.effects(job_id) == []


def test_a_time_limit_is_the_reason_whatever_the_function_makes_of_it(table: Table, locked: None) -> None:
    def function(job: Job) -> None:
        try:
            wait_for_lock(job)
        except DBAPIError as error:
            raise ValueError("the database is to blame") from error

    job_id = table.add()
    assert table.run(job_id, function, time_limit=0.5) is State.FAILED
    assert table.row(job_id).error["type"] == f"{URN}time-limit"


def test_a_time_limit_ends_a_job_that_is_in_no_statement(table: Table) -> None:
    def function(job: Job) -> None:
        go_on(job)

    job_id = table.add(retry=Retry(max_retries=1, backoff=60))
    assert table.run(job_id, function, time_limit=0.5) is State.QUEUED
    assert table.row(job_id).failures == 1


def test_a_job_does_not_wait_for_a_function_that_does_not_return(
    table: Table, elsewhere: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    returns = threading.Event()

    def function(job: Job) -> None:
        effect(job)
        returns.wait()

    monkeypatch.setattr(heartbeat, "_GRACE", 0.1)
    job_id = table.add()
    running = elsewhere.submit(table.run, job_id, function, time_limit=0.5)
    try:
        wait_until(lambda: table.row(job_id).state == "failed")
        assert table.row(job_id).error["type"] == f"{URN}time-limit"
    finally:
        returns.set()
    assert running.result(30) is None
    assert (table.row(job_id).failures, table.effects(job_id)) == (1, [])


# Heartbeats and progress.


def test_a_job_that_runs_keeps_its_lease_also_when_the_connection_of_the_heartbeats_is_lost(table: Table) -> None:
    dues: set[Any] = set()

    def function(job: Job) -> None:
        connection: Any = job.connection.connection.driver_connection
        idle = "command = 'Sleep' AND db = DATABASE() AND id <> :own"
        others = text(f"SELECT id FROM information_schema.processlist WHERE {idle}")
        others = others.bindparams(own=connection.thread_id())
        while len(dues) < 3:
            job.check()
            dues.add(table.row(job.id).due)
            for other in table.execute(others):
                with suppress(DBAPIError):  # it has gone already
                    table.execute(f"KILL {other}")
            time.sleep(0.1)

    assert table.run(table.add(), function) is State.SUCCEEDED


def test_a_job_whose_row_cannot_be_written_is_given_up(
    table: Table, elsewhere: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def function(job: Job) -> None:
        effect(job)
        begun.set()
        go_on(job)

    monkeypatch.setattr(lease, "HEARTBEAT", 0.2)
    monkeypatch.setattr(lease, "LEASE", 2.5)
    job_id = table.add()
    running = elsewhere.submit(table.run, job_id, function)
    begun.wait(30)
    with transaction(table.steps_engine) as other:
        other.execute(text("SELECT id FROM jobs WHERE id = :id FOR UPDATE"), {"id": job_id})
        assert running.result(60) is None
    row = table.row(job_id)
    assert (row.state, row.attempt, row.failures) == ("running", 1, 0)
    assert table.effects(job_id) == []


def test_progress_is_seen_while_the_job_runs(table: Table) -> None:
    versions: list[int] = []

    def function(job: Job) -> None:
        for step in (1, 2):
            job.progress({"step": step})
            wait_until(lambda: table.row(job.id).progress == {"step": step})
            versions.append(table.row(job.id).version)

    job_id = table.add()
    assert table.run(job_id, function) is State.SUCCEEDED
    assert versions[0] < versions[1] < table.row(job_id).version


@pytest.mark.parametrize("fails", [False, True])
def test_the_last_progress_before_the_end_is_kept(table: Table, fails: bool) -> None:
    def function(job: Job) -> None:
        for step in range(1000):
            job.progress(step)
        if fails:
            raise ValueError

    job_id = table.add()
    assert table.run(job_id, function) is (State.FAILED if fails else State.SUCCEEDED)
    row = table.row(job_id)
    assert row.progress == 999
    assert row.version == 2, "claimed and ended"


def nested(levels: int) -> Any:
    """A list in a list, and so on."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("value", [nested(31), {"😀": "\0"}])
def test_progress_that_the_function_may_report_is_kept(table: Table, value: Any, fails: bool) -> None:
    def function(job: Job) -> None:
        job.progress(value)
        if fails:
            raise ValueError

    job_id = table.add()
    assert table.run(job_id, function) is (State.FAILED if fails else State.SUCCEEDED)
    assert table.row(job_id).progress == value


def test_progress_that_the_database_refuses_does_not_cost_the_lease(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    def function(job: Job) -> None:
        effect(job)
        job._lease.report("\udce9")
        wait_until(lambda: job._lease.unreported is None)
        due = table.row(job.id).due
        wait_until(lambda: table.row(job.id).due > due)
        job.progress("well")

    monkeypatch.setattr(lease, "HEARTBEAT", 0.2)
    job_id = table.add()
    assert table.run(job_id, function) is State.SUCCEEDED
    assert (table.row(job_id).progress, table.effects(job_id)) == ("well", [1])


@pytest.mark.parametrize("fails", [False, True])
def test_the_end_is_written_without_progress_that_the_database_refuses(table: Table, fails: bool) -> None:
    def function(job: Job) -> None:
        effect(job)
        job._lease.report("\udce9")
        if fails:
            raise ValueError

    job_id = table.add()
    assert table.run(job_id, function) is (State.FAILED if fails else State.SUCCEEDED)
    assert table.row(job_id).progress is None
    assert table.effects(job_id) == ([] if fails else [1])


@pytest.mark.parametrize(
    "value", [object(), float("nan"), "x" * 70_000, "\udce9", {"\ud83d": 1}, nested(32), nested(5000)],
    ids=["no JSON", "not a number", "too long", "surrogate", "surrogate as a key", "32 levels", "5000 levels"],
)  # fmt: skip
def test_progress_that_cannot_be_written_is_the_functions_error(table: Table, value: Any) -> None:
    def function(job: Job) -> None:
        with pytest.raises((TypeError, ValueError)):
            job.progress(value)

    assert table.run(table.add(), function) is State.SUCCEEDED


# A function that leaves the database alone.


def test_a_job_without_statements_has_no_connection_and_does_not_run_again_for_its_end(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    def function(job: Job) -> str:
        runs.append(table.jobs_engine.pool.checkedout())  # type: ignore[attr-defined]
        return "sent"

    def fail_once(self: attempt.Attempt, connection: Any, result: str) -> None:
        ends.append(result)
        if len(ends) == 1:
            connection.execute(text("SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213"))
        finish(self, connection, result)

    runs: list[int] = []
    ends: list[str] = []
    finish = attempt.Attempt._finish
    monkeypatch.setattr(attempt.Attempt, "_finish", fail_once)
    job_id = table.add()
    assert table.run(job_id, function) is State.SUCCEEDED
    assert (runs, len(ends), json.loads(table.row(job_id).result)) == ([0], 2, "sent")


# The database is away.


def test_a_claim_waits_for_the_database_and_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_CLAIM_TIMEOUT", 0.5)
    engine = steps.make_steps_engine("mysql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(steps.DatabaseAway):
        steps.claim(engine, "an id", 1, "this")


def test_fixed_texts_are_all_that_clients_see() -> None:
    for kind, failure in failures._OF_ERRORS.items():
        assert failure.document().keys() == {"type", "title", "detail"}, kind
