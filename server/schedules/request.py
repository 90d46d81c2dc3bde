"""What clients ask for: the body of `PUT /schedules/{name}`. No I/O."""

import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeVar

from nowait.jobs.table import MAX_NAME, CatchUp, Overlap
from server.jobs.kind import JobKind
from server.jobs.request import BadRequest, CheckWebhook, JobRequest
from server.schedules.model import Definition

_MEMBERS = ("job", "cron", "every", "timezone", "enabled", "overlap", "catch_up")
_OF_JOB = ("name", "parameters", "queue", "retry", "webhook")
NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""The pattern of a schedule's name."""
QUEUE = f"[ -~]{{1,{MAX_NAME}}}"
"""That of a queue's."""

E = TypeVar("E", bound=Enum)


@dataclass(frozen=True)
class ScheduleRequest:
    """The body of a request, as far as it can be read without knowing the kind of job; ticks are not checked.

    Attributes:
        job: what is to be done, and its webhook.
        queue: of the job; None for that of its kind.
        cron, every, timezone, enabled, overlap, catch_up: as those of Definition.
    """

    job: JobRequest
    queue: str | None
    cron: str | None
    every: float | None
    timezone: str
    enabled: bool
    overlap: Overlap
    catch_up: CatchUp

    @classmethod
    def of_body(cls, body: Any, check_webhook: CheckWebhook | None) -> "ScheduleRequest":
        """Of a JSON value. Raises BadRequest.

        Args: as those of `JobRequest.of_body`.
        """
        given = _members(body, _MEMBERS, "", "An object with job, and cron or every, is expected.")
        job = _members(given.get("job"), _OF_JOB, "job.", "job: an object with name and parameters is expected.")
        if ("cron" in given) == ("every" in given):
            raise BadRequest("cron: either it or every is expected.")
        zone = _text("timezone", given.get("timezone"))
        if zone is not None and "every" in given:
            raise BadRequest("timezone: it is expected with cron alone.")
        every = given.get("every")
        if isinstance(every, bool) or not isinstance(every, (int, float, type(None))):
            raise BadRequest("every: seconds are expected.")
        enabled = given.get("enabled", True)
        if not isinstance(enabled, bool):
            raise BadRequest("enabled: true or false is expected.")
        try:
            asked = {name: value for name, value in job.items() if name != "queue"}
            request = JobRequest.of_body(asked, check_webhook)
        except BadRequest as error:
            raise BadRequest(f"job.{error}") from error
        return cls(
            job=request,
            queue=_queue(_text("job.queue", job.get("queue"))),
            cron=_text("cron", given.get("cron")),
            every=None if every is None else float(max(-1.0, min(every, 1e18))),
            timezone="UTC" if zone is None else zone,
            enabled=enabled,
            overlap=_choice("overlap", given.get("overlap"), Overlap.ALLOW),
            catch_up=_choice("catch_up", given.get("catch_up"), CatchUp.LATEST),
        )

    def definition(self, kind: JobKind) -> Definition:
        """Of a job of that kind. Raises BadParameter of `server.parameters`."""
        return Definition(
            job=kind.name,
            queue=self.queue or kind.queue,
            parameters=kind.parameters.check(self.job.parameters),
            retry=replace(kind.retry, **self.job.retry),
            webhook=self.job.webhook,
            cron=self.cron,
            every=self.every,
            timezone=self.timezone,
            enabled=self.enabled,
            overlap=self.overlap,
            catch_up=self.catch_up,
        )


def check_name(name: str) -> None:
    """Raise BadRequest unless a schedule may have this name."""
    if not re.fullmatch(NAME, name):
        raise BadRequest("name: 1 to 100 letters and digits, behind the first one . _ - as well, are expected.")


def _members(value: Any, known: tuple[str, ...], prefix: str, expected: str) -> dict[str, Any]:
    """Those of an object; as in a document, null is nothing. Raises BadRequest."""
    if not isinstance(value, dict):
        raise BadRequest(expected)
    for member in value:
        if member not in known:
            raise BadRequest(f"{prefix}{member[:100]}: there is no such member; there is {', '.join(known)}.")
    return {member: each for member, each in value.items() if each is not None}


def _text(member: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"{member}: a string is expected.")
    return value


def _queue(queue: str | None) -> str | None:
    if queue is not None and not re.fullmatch(QUEUE, queue):
        raise BadRequest("job.queue: the name of a queue, of printable characters of ASCII, is expected.")
    return queue


def _choice(member: str, value: Any, default: E) -> E:
    if value is None:
        return default
    choices = type(default)
    try:
        return choices(value)
    except ValueError as error:
        raise BadRequest(f"{member}: one of {', '.join(each.value for each in choices)} is expected.") from error
