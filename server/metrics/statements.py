"""What the database has of jobs, schedules and deliveries, in one statement that an index answers. No I/O.

Nothing is counted beyond a bound, so that it takes milliseconds however many jobs there are.
"""

from typing import Any

from sqlalchemy import ColumnElement, Select, Table, func, literal, select, text

from nowait.jobs.protocol import NOW
from nowait.jobs.table import State, deliveries, jobs, schedules

MOST = 100_000  # that are counted
OLDEST = 1000  # jobs of a state that are looked at for the one that takes longest


def figures() -> Select[Any]:
    """One row: `count_` and the state, for each; `oldest_queued` and `oldest_running`; `late_` and `count_` of others.

    Times are in seconds; None where there is nothing.
    """
    columns = [_count(jobs, jobs.c.state == state.value, "state").label(f"count_{state.value}") for state in State]
    # A job that is to wait waits for nobody until then.
    waiting = func.coalesce(jobs.c.eta, jobs.c.created)
    columns += [
        _longest(State.QUEUED, waiting).label("oldest_queued"),
        _longest(State.RUNNING, jobs.c.started).label("oldest_running"),
        _late(jobs).label("late_jobs"),
        _late(schedules).label("late_schedules"),
        _late(deliveries).label("late_deliveries"),
        _count(schedules, schedules.c.due.is_not(None), "due").label("count_schedules"),
        _count(deliveries, deliveries.c.due.is_not(None), "due").label("count_deliveries"),
    ]
    return select(*columns)


def _count(table: Table, which: ColumnElement[bool], index: str) -> Any:
    """How many there are, up to MOST."""
    some = select(literal(1).label("one")).select_from(table).with_hint(table, f"FORCE INDEX ({index})")
    return select(func.count()).select_from(some.where(which).limit(MOST).subquery()).scalar_subquery()


def _longest(state: State, since: ColumnElement[Any]) -> Any:
    """Seconds that the one of the oldest jobs of a state has been in it that has been so for longest."""
    oldest = (
        select(since.label("since"))
        .select_from(jobs)
        .with_hint(jobs, "FORCE INDEX (state)")
        .where(jobs.c.state == state.value)
        .order_by(jobs.c.id)
        .limit(OLDEST)
        .subquery()
    )
    return select(_seconds(func.min(oldest.c.since))).scalar_subquery()


def _late(table: Table) -> Any:
    """Seconds since the first moment that is due in a table; below 0 where that is to come."""
    return select(_seconds(func.min(table.c.due))).scalar_subquery()


def _seconds(since: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.timestampdiff(text("MICROSECOND"), since, NOW) / 1_000_000
