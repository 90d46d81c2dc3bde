"""Problem documents (RFC 9457): the answer to a request that fails.

Their texts are fixed here, or about the request itself. Texts of a worker, the database or the
broker are for the log.
"""

import json
import math
from dataclasses import dataclass, field, replace
from http.client import responses
from typing import Any

from tornado.web import HTTPError

from nowait import errors

CONTENT_TYPE = "application/problem+json"
_PREFIX = "urn:problem-type:nowait:"

_STREAM = "A named query streams any number of rows, with the header Accept: application/x-ndjson."

_UNKNOWN = (
    "Nobody can say whether the task ran, or the broker has the message."
    " Look whether it has had its effect before you send it again."
)
_OVERLOADED = "More is wanted than can be answered in time; try again after Retry-After."
_FULL = "The queue has as many messages as it may have. Try again, or wait for room with Prefer: wait=SECONDS."
_LATE = "There was no answer in time; the task may have run, or the broker may have the message."

# By error: kind, title, detail.
_OF_BRIDGE: dict[type[errors.BridgeError], tuple[str, str, str]] = {
    errors.Disconnected: ("broker-unavailable", "Broker unavailable", "There is no connection to the broker."),
    errors.Blocked: ("broker-blocked", "Broker blocked", "The broker takes no messages at the moment."),
    errors.Overloaded: ("overloaded", "Overloaded", _OVERLOADED),
    errors.Unroutable: ("no-queue", "No queue", "There is no queue for the message."),
    errors.UnknownTask: ("no-task", "No task", "The workers have no task of that name."),
    errors.QueueFull: ("queue-full", "Queue full", _FULL),
    errors.Refused: ("refused", "Message refused", "The broker refused the message."),
    errors.Stopped: ("stopping", "Server stopping", "The server is stopping."),
    errors.MessageTooLarge: ("message-too-large", "Message too large", "The message is too large."),
    errors.OutcomeUnknown: ("outcome-unknown", "Outcome unknown", _UNKNOWN),
    errors.DeadlineExceeded: ("deadline-exceeded", "Deadline exceeded", _LATE),
    errors.ResultTooLarge: ("answer-too-large", "Answer too large", f"The answer is larger than it may be. {_STREAM}"),
    errors.TaskFailed: ("task-failed", "Task failed", "The task failed; the log has the reason under the request id."),
}


@dataclass(frozen=True)
class Problem:
    """One problem, before it is written.

    Attributes:
        status: the HTTP status.
        title: the kind of problem, in words.
        detail: this occurrence, in words.
        type: a URI for the kind; about:blank where the status is enough.
        headers: further headers of the answer.
        members: further members of the document.
        spread: seconds by which Retry-After may be later, so that not all clients come again at once.
    """

    status: int
    title: str
    detail: str
    type: str = "about:blank"
    headers: dict[str, str] = field(default_factory=dict)
    members: dict[str, Any] = field(default_factory=dict)
    spread: int = 0

    def later(self, part: float) -> dict[str, str]:
        """The header Retry-After for the part of the spread, 0 to 1, that a client gets; empty without a spread."""
        if not self.spread:
            return {}
        return {"Retry-After": str(int(self.headers["Retry-After"]) + round(part * self.spread))}

    def body(self, request_id: str, trace_id: str = "") -> bytes:
        """The document; `trace_id` is "" where there are no traces."""
        document = {"type": self.type, "title": self.title, "status": self.status, "detail": self.detail}
        traced = {"trace_id": trace_id} if trace_id else {}
        text = json.dumps({**document, "request_id": request_id, **traced, **self.members}, ensure_ascii=False)
        return text.encode("utf-8", "backslashreplace")


class ProblemError(HTTPError):
    """A request that is answered with a problem of its own.

    Attributes:
        problem: the problem.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.status)
        self.problem = problem


def _own(status: int, kind: str, title: str, detail: str, retry_after: int | None = None) -> Problem:
    """A problem of a type of its own; `retry_after` in seconds, None when that would not help."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return Problem(status, title, detail, _PREFIX + kind, headers)


QUERY_BROKEN = _own(
    503,
    "query-broken",
    "Query broken",
    "The query cannot work in its database at present; the workers' log has the reason.",
    60,
)
DATABASE_LOST = _own(
    503, "database-lost", "Database lost", "The query lost its connection to the database twice; try again.", 1
)
JOBS_UNAVAILABLE = _own(503, "jobs-unavailable", "Jobs unavailable", "The database of the jobs does not answer.", 1)
JOBS_SCHEMA = _own(
    503,
    "jobs-schema",
    "Table of jobs missing",
    "The tables of jobs are missing or too old; the server's log has what to do.",
    60,
)
TOO_MANY_JOBS = _own(429, "too-many-jobs", "Too many jobs", "Too many jobs are unfinished.", 5)
TOO_MANY_WATCHERS = _own(503, "overloaded", "Too many streams of events", "Too many clients wait for news of jobs.", 1)
TOO_MANY_SUBSCRIBERS = _own(503, "overloaded", "Too many subscribers", "Too many clients follow topics.", 1)
TOO_MANY_CONSUMERS = _own(503, "overloaded", "Too many consumers", "Too many clients consume queues.", 1)
KEY_REUSED = _own(
    422,
    "idempotency-key-reused",
    "Idempotency key reused",
    "The Idempotency-Key was used with another request; each request takes a key of its own.",
)
KEY_IN_USE = _own(
    409, "idempotency-key-in-use", "Idempotency key in use", "The first request with the key has not ended.", 1
)
JOB_ENDED = _own(409, "job-ended", "Job ended", "The job has ended.")
JOB_NOT_ENDED = _own(409, "job-not-ended", "Job not ended", "The job has not ended.", 1)
_REALM = 'Bearer realm="nowait"'
KEY_MISSING = replace(
    _own(401, "key-missing", "Key missing", "A key is expected, as Authorization: Bearer."),
    headers={"WWW-Authenticate": _REALM},
)
# To a client, all that it may not use is one: it learns nothing about the keys of others.
KEY_INVALID = replace(
    _own(401, "key-invalid", "Key invalid", "There is no such key, or it is not valid at present."),
    headers={"WWW-Authenticate": f'{_REALM}, error="invalid_token"'},
)
NOT_BEARER = replace(KEY_INVALID, detail=KEY_MISSING.detail)
SCOPE_MISSING = _own(403, "scope-missing", "Scope missing", "The key is not for this.")
QUOTA_EXCEEDED = Problem(
    429,
    "Quota exceeded",
    "The key has used up what it may.",
    "https://iana.org/assignments/http-problem-types#quota-exceeded",
    {"Retry-After": "1"},
)
# Those above.
OWN = (
    QUERY_BROKEN, DATABASE_LOST, JOBS_UNAVAILABLE, JOBS_SCHEMA, TOO_MANY_JOBS, TOO_MANY_WATCHERS, TOO_MANY_SUBSCRIBERS,
    TOO_MANY_CONSUMERS, KEY_REUSED, KEY_IN_USE, JOB_ENDED, JOB_NOT_ENDED, KEY_MISSING, KEY_INVALID, NOT_BEARER,
    SCOPE_MISSING, QUOTA_EXCEEDED,
)  # fmt: skip
TYPES = sorted({each.type for each in OWN} | {_PREFIX + kind for kind, _, _ in _OF_BRIDGE.values()})
"""Those of problems that are more than their status, which are about:blank."""


def of_scope(scope: str) -> Problem:
    """The problem of a key without a scope."""
    return replace(
        SCOPE_MISSING,
        detail=f"The key has not the scope {scope}.",
        headers={"WWW-Authenticate": f'{_REALM}, error="insufficient_scope", scope="{scope}"'},
    )


def of_quota(policy: str, limit: str, retry_after: float) -> Problem:
    """The problem of a client that has used up its quota.

    Args:
        policy: the name of the limit.
        limit: the same in words, with its value.
        retry_after: seconds.
    """
    headers = {"Retry-After": str(max(1, math.ceil(retry_after)))}
    detail = f"The key has used up what it may: {limit}."
    return replace(QUOTA_EXCEEDED, detail=detail, headers=headers, members={"violated-policies": [policy]})


def of_status(status: int, detail: str | None = None) -> Problem:
    """The problem that a status alone describes; without `detail`, the title stands for it."""
    title = responses.get(status, "Unknown")
    return Problem(status, title, detail or f"{title}.")


def of_bridge_error(error: errors.BridgeError) -> Problem:
    """The problem that a failed call is to the client, with Retry-After where that makes sense."""
    kind, title, detail = next(
        (_OF_BRIDGE[cls] for cls in type(error).__mro__ if cls in _OF_BRIDGE),
        ("failed", "Call failed", "The call failed; the log has the reason under the request id."),
    )
    if isinstance(error, errors.ResultTooLarge) and error.limit is not None:
        detail = f"The answer has more than {error.limit} {error.unit}. {_STREAM}"
    after = None if error.retry_after is None else max(1, math.ceil(error.retry_after))
    headers = {} if after is None else {"Retry-After": str(after)}
    spread = 2 * after if after and isinstance(error, errors.Overloaded) else 0
    return Problem(error.status, title, detail, _PREFIX + kind, headers, spread=spread)
