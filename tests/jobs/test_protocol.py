"""The steps of a job as the database gets them."""

import pytest
from sqlalchemy import Update
from sqlalchemy.dialects import mysql

from nowait.jobs import protocol

ID = "01a217e1-c94b-76ad-8768-166e4d8ed159"
PROBLEM = {"type": "urn:problem-type:nowait:task-failed"}


@pytest.mark.parametrize(
    "step",
    [
        protocol.claim(ID, 1, "a worker"),
        protocol.heartbeat(ID, 1),
        protocol.report(ID, 1, {}),
        protocol.succeed(ID, 1, "null"),
        protocol.retry(ID, 1, 1.0, "task-failed"),
        protocol.fail(ID, 1, PROBLEM),
        protocol.cancel(ID, ""),
        protocol.postpone([ID], 1.0),
        protocol.expire([ID]),
        protocol.recall(ID, 0.0),
        protocol.give_up(ID, PROBLEM),
        protocol.keep([ID], 1.0),
        protocol.reopen(ID, ""),
        protocol.redeliver(ID, ""),
        protocol.confirm([ID], 1),
    ],
)
def test_each_update_locks_the_row_before_its_entries_in_indexes(step: Update | protocol.Step) -> None:
    statement = step if isinstance(step, Update) else step[0]
    dialect = mysql.dialect()  # type: ignore[no-untyped-call]
    assert str(statement.compile(dialect=dialect)).startswith("UPDATE jobs FORCE INDEX (PRIMARY) SET ")
