"""The table of deliveries, as the deliverer reads and writes it. No I/O.

Whoever delivers has a lease, and names the attempt that it has begun: of one that was thought to be lost, no outcome is
noted any more.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, Update, case, func, select, update

from nowait.jobs.protocol import NOW, later
from nowait.jobs.table import Delivery, deliveries, jobs
from server.jobs import rows
from server.jobs.model import Job
from server.webhooks.message import MAX_RESULT

LEASE = 60.0  # seconds that an attempt may take, and its outcome be noted

_SHORT_RESULT = case((func.length(jobs.c.result) <= MAX_RESULT, jobs.c.result)).label("result")
_SHORT: dict[Any, Any] = {jobs.c.result: _SHORT_RESULT, jobs.c.parameters: rows.SHORT_PARAMETERS}
_BEGUN = [_SHORT.get(column, column) for column in rows.COLUMNS]


@dataclass(frozen=True)
class DueDelivery:
    """One that is due.

    Attributes:
        job_id: of its job.
        url: that it goes to; None when somebody has deleted the job.
        outcome: of its last attempt that has ended; None for none.
    """

    job_id: str
    url: str | None
    outcome: str | None


@dataclass(frozen=True)
class Attempt:
    """One that was begun.

    Attributes:
        job: whose end is delivered; without its result where that is larger than MAX_RESULT, and without long
            parameters, as in a list.
        url: that it goes to.
        number: 1 or more, and the fencing token together with `began`.
        failures: of the attempts before, those that were noted; others were lost with their server.
        began: by the database's clock.
    """

    job: Job
    url: str
    number: int
    failures: int
    began: datetime


def due(limit: int) -> Select[Any]:
    """Up to `limit` deliveries that are due, the longest first, locked, without those that others look at."""
    url = select(jobs.c.webhook).where(jobs.c.id == deliveries.c.job_id).scalar_subquery().label("url")
    # Without the index's name the database scans the table, and locks what it sees of it.
    return (
        select(deliveries.c.job_id, deliveries.c.outcome, url)
        .with_hint(deliveries, "FORCE INDEX (due)")
        .where(deliveries.c.due <= NOW)
        .order_by(deliveries.c.due)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )


def due_delivery(row: Row[Any]) -> DueDelivery:
    """Of a row of due()."""
    return DueDelivery(row.job_id, row.url, row.outcome)


def begin(job_ids: Collection[str]) -> Update:
    """Begin an attempt of deliveries, locked by due()."""
    attempt = {"attempt": deliveries.c.attempt + 1, "attempted": NOW, "due": later(LEASE)}
    return update(deliveries).where(deliveries.c.job_id.in_(job_ids)).values(attempt)


def begun(job_ids: Collection[str]) -> Select[Any]:
    """What begin() has begun, in the same transaction."""
    columns = (*_BEGUN, deliveries.c.attempted, deliveries.c.failures.label("failed"))
    return select(*columns).select_from(rows.WITH_DELIVERIES).where(jobs.c.id.in_(job_ids))


def attempt(row: Row[Any]) -> Attempt:
    """Of a row of begun()."""
    return Attempt(rows.job(row), row.webhook, row.deliveries, row.failed, row.attempted)


def postpone(job_ids: Collection[str], seconds: float) -> Update:
    """Look at deliveries, locked by due(), again in so many seconds."""
    return update(deliveries).where(deliveries.c.job_id.in_(job_ids)).values(due=later(seconds))


def note(attempt: Attempt, state: Delivery, pause: float, outcome: str) -> Update:
    """What has come of an attempt, unless another one has begun meanwhile.

    Args:
        attempt: the attempt.
        state: of the delivery from now on.
        pause: seconds until the next attempt of one that is pending.
        outcome: in a word.
    """
    values = {
        jobs.c.version: jobs.c.version + 1,
        deliveries.c.state: state.value,
        deliveries.c.due: later(pause) if state is Delivery.PENDING else None,
        deliveries.c.outcome: outcome,
        # A number, not one more: what is committed and not known to be is noted once more.
        deliveries.c.failures: attempt.failures + (0 if state is Delivery.DELIVERED else 1),
    }
    held = (
        jobs.c.id == attempt.job.id,
        deliveries.c.job_id == jobs.c.id,
        deliveries.c.attempt == attempt.number,
        deliveries.c.attempted == attempt.began,
        deliveries.c.state == Delivery.PENDING.value,
    )
    # The job's row is locked first, as by all who change both.
    return update(jobs).where(*held).values(values)
