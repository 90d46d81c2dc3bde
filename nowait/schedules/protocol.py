"""A scheduler's statements: one transaction of them makes the jobs of the ticks that have come. No I/O.

Each of them is for any number of schedules, made once, and by the database's clock.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, Select, TextClause, bindparam, func, select, text

from nowait.jobs.protocol import NOW
from nowait.jobs.table import State, jobs, schedules


@dataclass(frozen=True)
class Tick:
    """A tick that gets a job.

    Attributes:
        moment: when it was to be.
        job: the id of its job.
    """

    moment: datetime
    job: str


@dataclass(frozen=True)
class Move:
    """What becomes of a schedule.

    Attributes:
        owner, name: of the schedule.
        ticks: that get a job, in their order.
        last: the tick that was dealt with last, in one way or another; None for none.
        due: the next one; None when there is none.
    """

    owner: str
    name: str
    ticks: tuple[Tick, ...]
    last: datetime | None
    due: datetime | None


def due(limit: int) -> tuple[Select[Any], dict[str, Any]]:
    """The schedules with a tick that has come, locked, without those that others look at; `now` is the moment."""
    return _DUE, {"most": limit}


def unfinished(job_ids: Collection[str]) -> tuple[Select[Any], dict[str, Any]]:
    """The ids of the jobs that have not ended, of these."""
    return _UNFINISHED, {"ids": list(job_ids)}


def insert(moves: Iterable[Move]) -> tuple[TextClause, dict[str, Any]]:
    """The jobs of their ticks, for schedules locked by due(); a tick that has a job already gets no other."""
    return _INSERT, _values(
        {"owner": move.owner, "name": move.name, "tick": _text(tick.moment), "job": tick.job}
        for move in moves
        for tick in move.ticks
    )


def move(moves: Iterable[Move]) -> tuple[TextClause, dict[str, Any]]:
    """Go on, in the transaction of insert()."""
    return _MOVE, _values(
        {
            "owner": move.owner,
            "name": move.name,
            "tick": _text(move.last),
            "due": _text(move.due),
            "job": move.ticks[-1].job if move.ticks else None,
        }
        for move in moves
    )


def next_due() -> Select[Any]:
    """Microseconds until the next tick, negative for one that has come; NULL for none."""
    return _NEXT_DUE


def _values(moves: Iterable[dict[str, str | None]]) -> dict[str, Any]:
    return {"moves": json.dumps(list(moves))}


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(" ", "microseconds")


_COLUMNS = ("owner", "name", "cron", "every", "timezone", "overlap", "catch_up", "due", "changed")
# Without the index's name the database scans the table, and locks what it sees of it.
_DUE = (
    select(*(schedules.c[name] for name in _COLUMNS), schedules.c.last_job, NOW.label("now"))
    .with_hint(schedules, "FORCE INDEX (due)")
    .where(schedules.c.due <= NOW)
    .order_by(schedules.c.due)
    .limit(bindparam("most", type_=Integer))
    .with_for_update(skip_locked=True)
)
_UNFINISHED = select(jobs.c.id).where(
    jobs.c.id.in_(bindparam("ids", expanding=True)), jobs.c.state.in_([State.QUEUED.value, State.RUNNING.value])
)
# The moves in front of the schedules, each of which is found by its key: the other way round, the database would look
# at schedules that others have locked.
_MOVES = """\
JSON_TABLE(:moves, '$[*]' COLUMNS (
    owner VARCHAR(100) PATH '$.owner', name VARCHAR(100) PATH '$.name', tick DATETIME(6) PATH '$.tick',
    due DATETIME(6) PATH '$.due', job CHAR(36) PATH '$.job'
)) AS moves STRAIGHT_JOIN schedules FORCE INDEX (PRIMARY)
    ON schedules.owner = moves.owner AND schedules.name = moves.name"""
# What a schedule has of its job goes from row to row, however large it is. IGNORE is for the unique key alone.
_INSERT = text(
    f"""\
INSERT IGNORE INTO jobs
    (id, owner, name, queue, parameters, retry, webhook, state, due, created, schedule, tick)
SELECT moves.job, schedules.owner, schedules.job, schedules.queue, schedules.parameters, schedules.retry,
    schedules.webhook, '{State.QUEUED.value}', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), schedules.name, moves.tick
FROM {_MOVES}"""
)
_MOVE = text(
    f"""\
UPDATE {_MOVES}
SET schedules.due = moves.due, schedules.last_tick = COALESCE(moves.tick, schedules.last_tick),
    schedules.last_job = COALESCE(moves.job, schedules.last_job)"""
)
_NEXT_DUE = select(func.timestampdiff(text("MICROSECOND"), NOW, func.min(schedules.c.due)))
