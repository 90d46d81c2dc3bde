"""A job as clients see it. No I/O."""

import json
from datetime import datetime
from typing import Any

from nowait.jobs.table import State
from server.jobs.model import Job, Webhook

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def summary(job: Job, once: bool | None) -> dict[str, Any]:
    """The document, without what makes it long: result and history.

    Args:
        job: the job.
        once: as that of its kind; None when that is not known.
    """
    document = {**_before_result(job), **_after_result(job, once)}
    del document["history"]
    return document


def parts(job: Job, once: bool | None) -> tuple[bytes, bytes, bytes]:
    """The document as JSON on one line, in three: the result is large at times, and passed on as it is.

    Args: as those of summary().
    """
    start, end = _bytes(_encode(_before_result(job))), _bytes(_encode(_after_result(job, once)))
    return start[:-1] + b',"result":', result(job), b"," + end[1:]


def result(job: Job) -> bytes:
    """The result as JSON on one line; null where there is none."""
    # Between the values of JSON lines may end, and within them none does; an event's data has no other line.
    return b"null" if job.result is None else _bytes(job.result.replace("\r", " ").replace("\n", " "))


def etag(job: Job) -> str:
    """The version, as a weak validator: what is not of the row, as `once`, may change without it."""
    return f'W/"{job.version}"'


def path(job_id: str) -> str:
    """Of the job's document."""
    return f"/jobs/{job_id}"


def _before_result(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "name": job.name,
        "parameters": job.parameters,
        "state": job.state.value,
        "attempt": job.attempt,
        "progress": job.progress,
    }


def _after_result(job: Job, once: bool | None) -> dict[str, Any]:
    return {
        "error": job.error,
        "worker": job.worker if job.state is State.RUNNING else None,
        "history": job.history or [],
        "created": text(job.created),
        "next": text(job.eta) if job.state is State.QUEUED else None,
        "started": text(job.started),
        "finished": text(job.finished),
        "expires": text(job.expires),
        "once": once,
        "schedule": job.schedule,
        "tick": text(job.tick),
        "webhook": None if job.webhook is None else _webhook(job.webhook),
        **({"owner": job.owner} if job.owner else {}),
        "urls": {"self": path(job.id), "events": f"{path(job.id)}/events"},
    }


def _webhook(webhook: Webhook) -> dict[str, Any]:
    return {
        "url": webhook.url,
        "state": webhook.state.value,
        "attempts": webhook.attempts,
        "next": text(webhook.next),
        "outcome": webhook.outcome,
    }


def text(moment: datetime | None) -> str | None:
    """RFC 3339."""
    return None if moment is None else moment.isoformat(timespec="microseconds") + "Z"


def _bytes(text: str) -> bytes:
    # A lone surrogate has no UTF-8 form; its backslash escape is its JSON form.
    return text.encode("utf-8", "backslashreplace")
