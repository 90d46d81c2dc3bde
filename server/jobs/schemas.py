"""JSON Schemas of what clients send and get of jobs. No I/O."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from nowait.jobs.retry import MAX_BACKOFF, MAX_RETRIES
from nowait.jobs.table import Delivery, State
from server.jobs.kind import JobKind
from server.jobs.model import MAX_WEBHOOK_URL
from server.jobs.request import MAX_SECONDS
from server.openapi.operation import Component, Schema, json, members, nullable
from server.openapi.shared import MOMENT, REPLAYED, RETRY_AFTER, TEXT

ID = {"type": "string", "pattern": "^[0-9a-f-]{36}$"}
STATE = {"type": "string", "enum": [state.value for state in State]}
_COUNT = {"type": "integer", "minimum": 0}
_SECONDS = {"type": "number", "minimum": 0, "maximum": MAX_SECONDS}
# The years that a column may have, and something added to it.
_WHEN = {**MOMENT, "pattern": "^(19[7-9][0-9]|[2-8][0-9]{3})-"}
_BACKOFF = nullable({"type": "number", "minimum": 0, "maximum": MAX_BACKOFF})

RETRY = Component(
    "Retry",
    {
        "type": ["object", "null"],
        "description": "When it is tried again; what is left out is as its kind has it.",
        "properties": {
            "max_retries": nullable({"type": "integer", "minimum": 0, "maximum": MAX_RETRIES}),
            "backoff": _BACKOFF,
            "backoff_max": _BACKOFF,
        },
        "additionalProperties": False,
    },
)

_SUMMARY: dict[str, Schema] = {
    "id": ID,
    "name": TEXT,
    "parameters": {"type": "object"},
    "state": STATE,
    "attempt": _COUNT,
    "progress": {"description": "what the job has shown last"},
    "error": nullable({"type": "object", "description": "a problem without a status"}),
    "worker": nullable(TEXT),
    "created": MOMENT,
    "next": nullable(MOMENT),
    "started": nullable(MOMENT),
    "finished": nullable(MOMENT),
    "expires": nullable(MOMENT),
    "once": nullable({"type": "boolean"}),
    "schedule": nullable(TEXT),
    "tick": nullable(MOMENT),
    "webhook": nullable(
        members(
            {
                "url": TEXT,
                "state": {"type": "string", "enum": [state.value for state in Delivery]},
                "attempts": _COUNT,
                "next": nullable(MOMENT),
                "outcome": nullable(TEXT),
            }
        )
    ),
    "urls": members({"self": TEXT, "events": TEXT}),
    "owner": {"type": "string", "description": "of the key that has made it"},
}
_OPTIONAL = ("owner",)  # without keys
_SHORT = nullable({"type": "object", "description": "null where they are longer than 16 KiB"})
SUMMARY = Component("JobSummary", members({**_SUMMARY, "parameters": _SHORT}, _OPTIONAL))
JOB = Component(
    "Job", members({**_SUMMARY, "result": {}, "history": {"type": "array", "items": {"type": "object"}}}, _OPTIONAL)
)

_ID = {"id": "$response.body#/id"}
ACCEPTED = json(
    "the job, whose result is still to come",
    JOB,
    202,
    headers={"Location": "of the job", **RETRY_AFTER},
    links={each: (each, _ID) for each in ("job", "cancel_job", "retry_job")},
)

# What the request for a new one is answered with.
ADDED = (
    json("the job, as it has ended meanwhile", JOB, headers={"Content-Location": "of the job", **REPLAYED}),
    replace(ACCEPTED, headers={**ACCEPTED.headers, **REPLAYED}),
)


def of_kind(kind: JobKind, further: dict[str, Any]) -> dict[str, Any]:
    """The schema of what names a kind of job and its parameters.

    Args:
        kind: of the job.
        further: the schemas of its other members.
    """
    schema = kind.parameters.strict
    properties = {"name": {"type": "string", "const": kind.name}, "parameters": schema, **further}
    needed = schema["required"] != []
    if not needed:
        properties["parameters"] = nullable(schema)
    return {
        "type": "object",
        "title": kind.name,
        "description": kind.description,
        "properties": properties,
        "required": ["name", "parameters"] if needed else ["name"],
        "additionalProperties": False,
    }


def of_any_kind(further: dict[str, Any]) -> dict[str, Any]:
    """The same, where no kind is listed: its parameters are open.

    Args:
        further: the schemas of its other members.
    """
    return {
        "type": "object",
        "properties": {"name": TEXT, "parameters": nullable({"type": "object"}), **further},
        "required": ["name"],
        "additionalProperties": False,
    }


def webhook(configured: bool) -> dict[str, Any]:
    """The schema of the URL that gets a job's end."""
    if not configured:
        return {"type": "null"}
    return {"type": ["string", "null"], "format": "uri", "maxLength": MAX_WEBHOOK_URL}


def new_job(kinds: Iterable[JobKind], webhooks: bool) -> Schema:
    """The schema of a job that is asked for.

    Args:
        kinds: those that the workers list; without any, the schema leaves the parameters open.
        webhooks: whether they are configured.
    """
    further = {
        "countdown": nullable({**_SECONDS, "description": "seconds before which it is not begun"}),
        "eta": nullable({**_WHEN, "description": "the moment before which it is not begun"}),
        "expires": {
            "description": "seconds, or the moment, after which it is not begun any more",
            "anyOf": [_SECONDS, _WHEN, {"type": "null"}],
        },
        "retry": RETRY,
        "webhook": webhook(webhooks),
    }
    either = [{"properties": {name: {"type": "null"}}} for name in ("countdown", "eta")]
    listed = [{**of_kind(kind, further), "anyOf": either} for kind in kinds]
    return Component("NewJob", {"oneOf": listed} if listed else {**of_any_kind(further), "anyOf": either})
