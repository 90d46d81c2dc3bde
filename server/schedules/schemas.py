"""JSON Schemas of what clients send and get of schedules. No I/O."""

from collections.abc import Iterable

from nowait.jobs.retry import Retry
from nowait.jobs.table import CatchUp, Overlap
from nowait.schedules.ticks import MAX_CRON, MAX_EVERY, MAX_ZONE, MIN_EVERY
from server.jobs import schemas
from server.jobs.kind import JobKind
from server.openapi.operation import Component, Schema, members, nullable
from server.openapi.shared import MOMENT, TEXT
from server.schedules.request import NAME as _NAME
from server.schedules.request import QUEUE

NAME = {"type": "string", "pattern": f"^{_NAME}$"}
_CHOICES = {
    "overlap": {"type": "string", "enum": [each.value for each in Overlap]},
    "catch_up": {"type": "string", "enum": [each.value for each in CatchUp]},
}
_RETRY = members({name: {"type": "number"} for name in Retry().document()})
_NULL = {"type": "null"}
# JSON Schema knows no such formats.
_CRON = {"type": "string", "format": "cron", "maxLength": MAX_CRON, "examples": ["*/5 * * * *"]}
_ZONE = {"type": "string", "format": "time-zone", "maxLength": MAX_ZONE, "examples": ["Europe/Berlin"]}

_SUMMARY_JOB = {"name": TEXT, "queue": TEXT, "retry": _RETRY, "webhook": nullable(TEXT)}
_SUMMARY: dict[str, Schema] = {
    "name": NAME,
    "job": members(_SUMMARY_JOB),
    "cron": nullable(TEXT),
    "every": nullable({"type": "number"}),
    "timezone": nullable(TEXT),
    "enabled": {"type": "boolean"},
    **_CHOICES,
    "created": MOMENT,
    "next": {"type": "array", "items": MOMENT},
    "last_tick": nullable(MOMENT),
    "last_job": nullable(schemas.ID),
    "urls": members({"self": TEXT, "jobs": TEXT}),
}
SUMMARY = Component("ScheduleSummary", members(_SUMMARY))
SCHEDULE = Component(
    "Schedule", members({**_SUMMARY, "job": members({**_SUMMARY_JOB, "parameters": {"type": "object"}})})
)


def new_schedule(kinds: Iterable[JobKind], webhooks: bool) -> Schema:
    """The schema of a schedule that is asked for.

    Args: as those of `server.jobs.schemas.new_job`.
    """
    further = {
        "queue": nullable({"type": "string", "pattern": f"^{QUEUE}$"}),
        "retry": schemas.RETRY,
        "webhook": schemas.webhook(webhooks),
    }
    listed = [schemas.of_kind(kind, further) for kind in kinds]
    ways = [
        {"properties": {"cron": _CRON, "every": _NULL}, "required": ["cron"]},
        {
            "properties": {
                "every": {"type": "number", "minimum": MIN_EVERY, "maximum": MAX_EVERY},
                "cron": _NULL,
                "timezone": _NULL,
            },
            "required": ["every"],
        },
    ]
    return Component(
        "NewSchedule",
        {
            "type": "object",
            "properties": {
                "job": {"oneOf": listed} if listed else schemas.of_any_kind(further),
                "cron": nullable({"type": "string"}),
                "every": nullable({"type": "number", "description": "seconds"}),
                "timezone": nullable(_ZONE),
                "enabled": {"type": ["boolean", "null"], "default": True},
                **{name: nullable(choice) for name, choice in _CHOICES.items()},
            },
            "required": ["job"],
            "oneOf": ways,
            "additionalProperties": False,
        },
    )
