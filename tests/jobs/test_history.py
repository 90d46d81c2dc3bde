"""A job's history, written by the steps of its life, in the database."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine

from nowait.database_url import DatabaseUrl
from nowait.jobs import protocol
from nowait.jobs.protocol import MAX_HISTORY
from nowait.jobs.table import INIT_COMMAND
from tests.server.conftest import Rows, rows

__all__ = ["rows"]
PROBLEM = {"type": "urn:problem-type:nowait:time-limit", "title": "private"}


@pytest.fixture
def run(database_url: str) -> Iterator[Any]:
    """Runs a step, which has to find its job."""
    options = {**DatabaseUrl.parse(database_url).options(), "init_command": INIT_COMMAND}
    engine = create_engine("mysql+pymysql://", connect_args=options, isolation_level="AUTOCOMMIT")

    def run(step: Any) -> None:
        statement, values = step if isinstance(step, tuple) else (step, {})
        with engine.connect() as connection:
            assert connection.execute(statement, values).rowcount == 1

    yield run
    engine.dispose()


def test_each_attempt_without_success_is_in_it_with_its_worker_and_reason(run: Any, rows: Rows) -> None:
    job_id = rows.add()
    run(protocol.claim(job_id, 1, "one"))
    run(protocol.retry(job_id, 1, 0.0, "task-failed"))
    run(protocol.claim(job_id, 2, "two"))
    run(protocol.recall(job_id, 0.0))
    run(protocol.claim(job_id, 3, "three"))
    run(protocol.fail(job_id, 3, PROBLEM))
    run(protocol.reopen(job_id, ""))
    run(protocol.claim(job_id, 4, "four"))
    run(protocol.give_up(job_id, PROBLEM))
    run(protocol.reopen(job_id, ""))
    run(protocol.claim(job_id, 5, "five"))
    run(protocol.succeed(job_id, 5, "null"))
    history = json.loads(rows[job_id]["history"])
    assert [(each["attempt"], each["worker"], each["reason"]) for each in history] == [
        (1, "one", "task-failed"), (2, "two", "lost"), (3, "three", "time-limit"), (4, "four", "lost"),
    ]  # fmt: skip
    moments = [moment for each in history for moment in (each["started"], each["ended"])]
    assert moments == sorted(moments) and all(len(moment) == len("2026-11-25T06:00:00.000000Z") for moment in moments)
    assert "private" not in rows[job_id]["history"]


def test_it_has_the_last_attempts_and_no_more(run: Any, rows: Rows) -> None:
    job_id = rows.add()
    for number in range(1, MAX_HISTORY + 6):
        run(protocol.claim(job_id, number, "w"))
        run(protocol.retry(job_id, number, 0.0, "task-failed"))
    numbers = [each["attempt"] for each in json.loads(rows[job_id]["history"])]
    assert numbers == list(range(6, MAX_HISTORY + 6))


def test_lost_workers_are_forgotten_once_it_is_tried_again(run: Any, rows: Rows) -> None:
    job_id = rows.add(state="failed", attempt=6, failures=0)
    run(protocol.reopen(job_id, ""))
    row = rows[job_id]
    assert (row["attempt"], row["failures"], row["forgiven"], row["reopened"]) == (6, 0, 6, 1)
