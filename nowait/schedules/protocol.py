"""A scheduler's statements: one transaction of them makes the jobs of the ticks that have come. No I/O.

Each of them is for any number of schedules, made once, and by the database's clock.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Integer, Select, TextClause, bindparam, func, select, text, tuple_

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


class Edition(NamedTuple):
    """A schedule as it is until its next edit; the names are those of the columns."""

    owner: str
    name: str
    version: int
    changed: datetime


def due(limit: int, without: Collection[Edition] = ()) -> tuple[Select[Any], dict[str, Any]]:
    """The schedules with a tick that has come, locked, without those that others look at; `now` is the moment.

    Args:
        limit: how many, at most.
        without: these are left out.
    """
    if not without:
        return _DUE, {"most": limit}
    return _DUE.where(_EDITION.not_in(bindparam("without", expanding=True))), {"most": limit, "without": list(without)}


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
    """Go on, in the transaction of insert(): the last job is the one that the last of the ticks has."""
    return _MOVE, _values(
        {
            "owner": move.owner,
            "name": move.name,
            "tick": _text(move.last),
            "due": _text(move.due),
            "made": _text(move.ticks[-1].moment) if move.ticks else None,
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


_COLUMNS = ("owner", "name", "cron", "every", "timezone", "overlap", "catch_up", "due", "version", "changed")
_EDITION = tuple_(*(schedules.c[name] for name in Edition._fields))
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
# at schedules that others have locked. The names are wider than those of the tables: what is too long is cut off by
# JSON_TABLE of MariaDB, whatever is to be done on an error, and refused by INSERT.
_MOVES = """\
JSON_TABLE(:moves, '$[*]' COLUMNS (
    owner VARCHAR(255) PATH '$.owner' ERROR ON ERROR, name VARCHAR(255) PATH '$.name' ERROR ON ERROR,
    tick DATETIME(6) PATH '$.tick' ERROR ON ERROR, due DATETIME(6) PATH '$.due' ERROR ON ERROR,
    made DATETIME(6) PATH '$.made' ERROR ON ERROR, job VARCHAR(255) PATH '$.job' ERROR ON ERROR
)) AS moves STRAIGHT_JOIN schedules FORCE INDEX (PRIMARY)
    ON schedules.owner = moves.owner AND schedules.name = moves.name
LEFT JOIN jobs AS made FORCE INDEX (tick) ON made.owner = moves.owner AND made.schedule = moves.name"""
# What a schedule has of its job goes from row to row, however large it is. The lock on the schedule has no other insert
# the same job; what fails is an error, also where there is one nevertheless.
_INSERT = text(
    f"""\
INSERT INTO jobs
    (id, owner, name, queue, parameters, retry, webhook, state, due, created, schedule, tick)
SELECT moves.job, schedules.owner, schedules.job, schedules.queue, schedules.parameters, schedules.retry,
    schedules.webhook, '{State.QUEUED.value}', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), schedules.name, moves.tick
FROM {_MOVES} AND made.tick = moves.tick
WHERE made.id IS NULL"""
)
_MOVE = text(
    f"""\
UPDATE {_MOVES} AND made.tick = moves.made
SET schedules.due = moves.due, schedules.last_tick = COALESCE(moves.tick, schedules.last_tick),
    schedules.last_job = COALESCE(made.id, schedules.last_job)"""
)
_NEXT_DUE = select(func.timestampdiff(text("MICROSECOND"), NOW, func.min(schedules.c.due)))
