"""What clients ask for: the body of `POST /jobs`, and the header `Idempotency-Key`. No I/O."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from nowait.formats import parse_date_time
from nowait.jobs.retry import BadRetry, members
from server.jobs.kind import JobKind
from server.jobs.model import NewJob

MAX_SECONDS = 10 * 365 * 86400.0

_MEMBERS = ("name", "parameters", "countdown", "eta", "expires", "retry", "webhook")
CheckWebhook = Callable[[Any], str]
"""Returns the URL that a webhook may have; raises ValueError with what is expected."""

_YEARS = range(1970, 9000)  # a DATETIME ends with the year 9999, and something may be added to it

# A string of RFC 8941, 3.3.3; or, as most send it, the text alone.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BARE = re.compile(r'[ !#-~][ -~]*')
_MAX_KEY = 255  # characters


class BadRequest(ValueError):
    """A request that cannot be understood; the text has the member or header, and what is expected."""


@dataclass(frozen=True)
class JobRequest:
    """The body of a request, as far as it can be read without knowing the kind of job.

    Attributes:
        name: of the kind.
        parameters: as given; not checked yet.
        countdown, eta, expires_in, expires: as those of NewJob.
        retry: the members of Retry that are given.
        webhook: the URL that gets its end; None for none.
        fingerprint: SHA-256 of what is given, in a form that all equal requests share.
    """

    name: str
    parameters: Any
    countdown: float | None
    eta: datetime | None
    expires_in: float | None
    expires: datetime | None
    retry: Mapping[str, Any]
    webhook: str | None
    fingerprint: bytes

    @classmethod
    def of_body(cls, body: Any, check_webhook: CheckWebhook | None = None) -> "JobRequest":
        """Of a JSON value. Raises BadRequest.

        Args:
            body: the value.
            check_webhook: what a webhook may be; None where none is configured.
        """
        if not isinstance(body, dict):
            raise BadRequest("An object with name and parameters is expected.")
        for member in body:
            if member not in _MEMBERS:
                raise BadRequest(f"{member[:100]}: there is no such member; there is {', '.join(_MEMBERS)}.")
        # As in a job's document, null is nothing.
        given = {member: value for member, value in body.items() if value is not None}
        name = given.get("name")
        if not isinstance(name, str):
            raise BadRequest("name: the name of a job is expected.")
        if "countdown" in given and "eta" in given:
            raise BadRequest("countdown: it is expected without eta.")
        given.setdefault("parameters", {})
        expires = given.get("expires")
        relative = expires is None or _is_number(expires)
        return cls(
            name=name,
            parameters=given["parameters"],
            countdown=_seconds("countdown", given.get("countdown")),
            eta=_moment("eta", given.get("eta")),
            expires_in=_seconds("expires", expires) if relative else None,
            expires=None if relative else _moment("expires", expires),
            retry=_retry(given.get("retry", {})),
            webhook=_webhook(given.get("webhook"), check_webhook),
            fingerprint=_fingerprint(given),
        )

    def job(self, kind: JobKind, job_id: str, owner: str, key: str | None) -> NewJob:
        """The job of that kind. Raises BadParameter of `server.parameters`."""
        return NewJob(
            id=job_id,
            owner=owner,
            name=kind.name,
            queue=kind.queue,
            parameters=kind.parameters.check(self.parameters),
            retry=replace(kind.retry, **self.retry),
            countdown=self.countdown,
            eta=self.eta,
            expires_in=self.expires_in,
            expires=self.expires,
            key=key,
            fingerprint=None if key is None else self.fingerprint,
            webhook=self.webhook,
        )


def parse_key(values: list[str]) -> str | None:
    """The key of the headers `Idempotency-Key`; None when there is none. Raises BadRequest."""
    if not values:
        return None
    quoted, bare = _QUOTED.fullmatch(values[0]), _BARE.fullmatch(values[0])
    key = re.sub(r"\\(.)", r"\1", quoted.group(1)) if quoted else bare.group() if bare else ""
    # To the database, blanks at the end are nothing: two keys would be one.
    if len(values) > 1 or not 1 <= len(key) <= _MAX_KEY or key.endswith(" "):
        raise BadRequest(
            f"Idempotency-Key: one of 1 to {_MAX_KEY} printable ASCII characters is expected, with no blank at its end."
        )
    return key


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _seconds(member: str, value: Any) -> float | None:
    if value is None:
        return None
    # No NaN is between two numbers.
    if not _is_number(value) or not 0 <= value <= MAX_SECONDS:
        raise BadRequest(f"{member}: seconds from 0 to {MAX_SECONDS:.0f} are expected.")
    return float(value)


def _moment(member: str, value: Any) -> datetime | None:
    """UTC without a zone, as the database has it."""
    if value is None:
        return None
    try:
        moment = parse_date_time(value).replace(tzinfo=None)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.year not in _YEARS:
        what = "seconds, or a date and time" if member == "expires" else "a date and time"
        raise BadRequest(f"{member}: {what} of RFC 3339 with a time zone, such as 2026-11-25T06:00:00Z, is expected.")
    return moment


def _retry(value: Any) -> dict[str, Any]:
    try:
        return members(value)
    except BadRetry as error:
        raise BadRequest(str(error)) from error


def _webhook(value: Any, check: CheckWebhook | None) -> str | None:
    if value is None:
        return None
    if check is None:
        raise BadRequest("webhook: none is configured.")
    try:
        return check(value)
    except ValueError as error:
        raise BadRequest(f"webhook: {error}") from error


def _fingerprint(given: dict[str, Any]) -> bytes:
    # Names in order, as two clients in two languages may write one request.
    return hashlib.sha256(json.dumps(given, sort_keys=True, separators=(",", ":")).encode()).digest()
