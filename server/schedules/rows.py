"""A schedule and its row, one made of the other. No I/O."""

from dataclasses import fields
from typing import Any

from sqlalchemy import Insert, Row, Select, Update, delete, insert, select, update
from sqlalchemy.sql.dml import Delete

from nowait.jobs.retry import Retry
from nowait.jobs.table import CatchUp, Overlap, schedules
from server.schedules.model import Definition, Schedule

_DEFINITION = [field.name for field in fields(Definition)]
_OTHERS = [field.name for field in fields(Schedule) if field.name != "definition"]
_COLUMNS = [schedules.c[name] for name in (*_DEFINITION, *_OTHERS)]
_LISTED = [column for column in _COLUMNS if column is not schedules.c.parameters]


def of_name(owner: str, name: str, lock: bool = False) -> Select[Any]:
    """The schedule of a name; with `lock`, until the end of the transaction nobody else changes it."""
    found = select(*_COLUMNS).where(schedules.c.owner == owner, schedules.c.name == name)
    return found.with_for_update() if lock else found


def listed(owner: str, limit: int, after: str | None) -> Select[Any]:
    """Up to `limit` schedules, by name, without the parameters of their jobs."""
    found = select(*_LISTED).where(schedules.c.owner == owner)
    if after is not None:
        found = found.where(schedules.c.name > after)
    return found.order_by(schedules.c.name).limit(limit)


def insertion(schedule: Schedule) -> Insert:
    """The row of a new schedule."""
    return insert(schedules).values(
        owner=schedule.owner, name=schedule.name, created=schedule.created, **_edited(schedule)
    )


def change(schedule: Schedule) -> Update:
    """What an edit makes of its row; what a scheduler has noted remains."""
    return (
        update(schedules)
        .where(schedules.c.owner == schedule.owner, schedules.c.name == schedule.name)
        .values(_edited(schedule))
    )


def deletion(owner: str, name: str) -> Delete:
    """Of the row."""
    return delete(schedules).where(schedules.c.owner == owner, schedules.c.name == name)


def schedule(row: Row[Any]) -> Schedule:
    """The schedule of a row that one of these statements has found."""
    values = {"parameters": {}, **row._mapping}
    defined: dict[str, Any] = {name: values.pop(name) for name in _DEFINITION}
    defined |= {
        "retry": Retry.of_document(row.retry),
        "enabled": bool(row.enabled),
        "overlap": Overlap(row.overlap),
        "catch_up": CatchUp(row.catch_up),
    }
    return Schedule(definition=Definition(**defined), **values)


def _edited(schedule: Schedule) -> dict[str, Any]:
    definition = schedule.definition
    return {
        **{name: getattr(definition, name) for name in _DEFINITION},
        "retry": definition.retry.document(),
        "overlap": definition.overlap.value,
        "catch_up": definition.catch_up.value,
        "due": schedule.due,
        "version": schedule.version,
        "changed": schedule.changed,
    }
