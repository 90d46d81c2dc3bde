"""A schedule as clients see it. No I/O."""

from datetime import datetime
from itertools import islice
from typing import Any

from nowait.schedules.ticks import BadTicks, series
from server.schedules.model import Schedule

_NEXT = 5


def summary(schedule: Schedule) -> dict[str, Any]:
    """The document, with one tick in `next` at most, and without the parameters of its job, which make it long."""
    made = document(schedule, upcoming=1)
    del made["job"]["parameters"]
    return made


def document(schedule: Schedule, upcoming: int = _NEXT) -> dict[str, Any]:
    """The document.

    Args:
        schedule: the schedule.
        upcoming: ticks in `next`, at most.
    """
    definition = schedule.definition
    return {
        "name": schedule.name,
        "job": {
            "name": definition.job,
            "parameters": definition.parameters,
            "queue": definition.queue,
            "retry": definition.retry.document(),
            "webhook": definition.webhook,
        },
        "cron": definition.cron,
        "every": definition.every,
        "timezone": None if definition.cron is None else definition.timezone,
        "enabled": definition.enabled,
        "overlap": definition.overlap.value,
        "catch_up": definition.catch_up.value,
        "created": _text(schedule.created),
        "next": [_text(tick) for tick in _upcoming(schedule, upcoming)],
        "last_tick": None if schedule.last_tick is None else _text(schedule.last_tick),
        "last_job": schedule.last_job,
        "urls": {"self": path(schedule.name), "jobs": f"/jobs?schedule={schedule.name}"},
    }


def etag(schedule: Schedule) -> str:
    """The version, and which schedule of that name it is. Ticks that go by do not change it."""
    return f'"{schedule.version}.{schedule.created:%y%m%d%H%M%S%f}"'


def path(name: str) -> str:
    """Of the schedule's document."""
    return f"/schedules/{name}"


def _upcoming(schedule: Schedule, count: int) -> list[datetime]:
    try:
        ticks = schedule.definition.ticks(schedule.changed)
    except BadTicks:  # this host knows other zones
        return []
    return list(islice(series(ticks, schedule.due), count))


def _text(moment: datetime) -> str:
    """RFC 3339."""
    return moment.isoformat(timespec="microseconds") + "Z"
