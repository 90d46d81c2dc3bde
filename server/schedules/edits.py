"""What becomes of a schedule by an edit. No I/O."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from nowait.schedules.ticks import BadTicks
from server.schedules.model import Definition, Schedule


def created(owner: str, name: str, definition: Definition, now: datetime) -> Schedule:
    """A new one. Raises BadTicks."""
    due = _due(definition, now, now)
    return Schedule(owner, name, definition, due, None, None, version=0, created=now, changed=now)


def edited(schedule: Schedule, definition: Definition, now: datetime) -> Schedule:
    """The schedule by another definition; itself where that is no other. Raises BadTicks.

    Its ticks are as before unless they are defined otherwise. One that has come, and that no scheduler has looked at
    yet, remains, unless the edit is a pause. Those of a pause are not missed: the next one comes.
    """
    before = schedule.definition
    # One that had no further tick, as its zone was another one then, goes on by the same definition.
    stuck = definition.enabled and schedule.due is None
    if _comparable(definition) == _comparable(before) and not stuck:
        return schedule
    due, changed = schedule.due, schedule.changed
    if _timing(definition) != _timing(before):
        changed = now
    if changed == now or definition.enabled != before.enabled or stuck:
        following = _due(definition, changed, now)
        if not definition.enabled or due is None or due > now:
            due = following
    return replace(schedule, definition=definition, due=due, changed=changed, version=schedule.version + 1)


def _timing(definition: Definition) -> tuple[Any, ...]:
    return definition.cron, definition.every, definition.timezone


def _comparable(definition: Definition) -> tuple[Any, ...]:
    # As text: for Python, true equals 1.
    parameters = json.dumps(definition.parameters, sort_keys=True)
    return replace(definition, parameters={}), parameters


def _due(definition: Definition, since: datetime, now: datetime) -> datetime | None:
    due = definition.ticks(since).after(now)
    if due is None:
        raise BadTicks("cron: there is no such day.")
    return due if definition.enabled else None
