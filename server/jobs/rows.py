"""A job and its row, one made of the other. No I/O."""

from collections.abc import Collection
from dataclasses import fields
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Insert, Row, Select, bindparam, case, func, insert, select
from sqlalchemy.sql import ColumnElement

from nowait.jobs import protocol
from nowait.jobs.protocol import NOW, UNCONFIRMED, later, later_by, microseconds
from nowait.jobs.retry import Retry
from nowait.jobs.table import Delivery, State, deliveries, jobs
from server.jobs.model import MAX_LISTED, Job, NewJob, Webhook

_WEBHOOK = [
    deliveries.c.state.label("delivery"),
    deliveries.c.attempt.label("deliveries"),
    deliveries.c.due.label("next_delivery"),
    deliveries.c.outcome,
]
COLUMNS = [*(jobs.c[field.name] for field in fields(Job)), *_WEBHOOK]
"""What job() reads, of WITH_DELIVERIES."""
WITH_DELIVERIES = jobs.outerjoin(deliveries, deliveries.c.job_id == jobs.c.id)
SHORT_PARAMETERS = case((func.octet_length(jobs.c.parameters) <= MAX_LISTED, jobs.c.parameters)).label("parameters")
"""For where hundreds of jobs are read at once."""
_LISTED = [
    SHORT_PARAMETERS if column is jobs.c.parameters else column
    for column in COLUMNS
    if column not in (jobs.c.result, jobs.c.history)
]
_MOMENTS = (jobs.c.id, jobs.c.created, jobs.c.eta, jobs.c.expires)
_UNFINISHED = (State.QUEUED.value, State.RUNNING.value)


def added(job: NewJob) -> tuple[dict[str, Any], frozenset[str]]:
    """The values of insertion() for a new job, and which of its moments are given."""
    given: dict[str, Any] = {
        "eta_in": None if job.countdown is None else microseconds(job.countdown),
        "eta_at": job.eta,
        "expires_in": None if job.expires_in is None else microseconds(job.expires_in),
        "expires_at": job.expires,
    }
    given = {name: value for name, value in given.items() if value is not None}
    values = {
        "id": job.id,
        "owner": job.owner,
        "name": job.name,
        "queue": job.queue,
        "parameters": job.parameters,
        "retry": job.retry.document(),
        "webhook": job.webhook,
        "traceparent": job.traceparent,
        "idempotency_key": job.key,
        # aiomysql takes no bytes beside PyMySQL from 1.2 on.
        "digits": None if job.fingerprint is None else job.fingerprint.hex(),
        "schedule": job.schedule,
    }
    return {**values, **given}, frozenset(given)


@cache
def insertion(given: frozenset[str], returning: bool) -> Insert:
    """The row of a new job; its moments are by the database's clock. Made once, as to make it costs more than to send.

    Args:
        given: see added().
        returning: it has the rows of moments() as its result, in any order.
    """
    eta, expires = _moment("eta", given), _moment("expires", given)
    due: ColumnElement[Any] = later(UNCONFIRMED)
    if eta is not None:
        due = case((eta > NOW, eta), else_=due)
    if expires is not None:
        due = func.least(due, expires, type_=jobs.c.due.type)
    adding = insert(jobs).values(
        state=State.QUEUED.value,
        due=due,
        created=NOW,
        eta=eta,
        expires=expires,
        fingerprint=func.unhex(bindparam("digits")),
    )
    return adding.returning(*_MOMENTS) if returning else adding


def moments(job_ids: Collection[str]) -> Select[Any]:
    """What the database has made of the moments of jobs, with their ids."""
    return select(*_MOMENTS).where(jobs.c.id.in_(job_ids))


def new(job: NewJob, row: Row[Any]) -> Job:
    """The job that was added, of a row of moments(): to read all of it would take longer than to add it."""
    return Job(
        id=job.id,
        owner=job.owner,
        name=job.name,
        queue=job.queue,
        parameters=job.parameters,
        retry=job.retry,
        state=State.QUEUED,
        attempt=0,
        failures=0,
        version=0,
        progress=None,
        result=None,
        error=None,
        created=row.created,
        eta=row.eta,
        expires=row.expires,
        started=None,
        finished=None,
        schedule=job.schedule,
        webhook=None if job.webhook is None else Webhook(job.webhook),
        traceparent=job.traceparent,
    )


def of_id(job_id: str, owner: str | None) -> Select[Any]:
    """The job of an id, with its result."""
    return _select(COLUMNS).where(jobs.c.id == job_id, *protocol.of_owner(owner))


def of_key(owner: str, key: str) -> Select[Any]:
    """The job of a key, with its result, and the fingerprint of the request that made it."""
    return _select([*COLUMNS, jobs.c.fingerprint]).where(jobs.c.owner == owner, jobs.c.idempotency_key == key)


def listed(
    owner: str | None, limit: int, before: str | None, state: State | None, name: str | None, schedule: str | None
) -> Select[Any]:
    """Up to `limit` jobs without results, histories and long parameters, the newest first."""
    found = _select(_LISTED).where(*protocol.of_owner(owner))
    if schedule is not None and owner is not None:
        found = found.with_hint(jobs, "FORCE INDEX (schedule)")
    elif not owner:
        # In the order of an index, of which the first rows are enough: the database might sort all jobs instead. Of an
        # owner that has few among many, it knows better.
        found = found.with_hint(jobs, f"FORCE INDEX ({'PRIMARY' if state is None else 'state'})")
    if before is not None:
        found = found.where(jobs.c.id < before)
    if state is not None:
        found = found.where(jobs.c.state == state.value)
    if name is not None:
        found = found.where(jobs.c.name == name)
    if schedule is not None:
        found = found.where(jobs.c.schedule == schedule)
    return found.order_by(jobs.c.id.desc()).limit(limit)


def unfinished(owner: str, most: int) -> Select[Any]:
    """How many jobs of an owner have not ended; it counts up to `most`."""
    some = select(jobs.c.id).where(jobs.c.state.in_(_UNFINISHED), jobs.c.owner == owner).limit(most)
    return select(func.count()).select_from(some.subquery())


def job(row: Row[Any]) -> Job:
    """The job of a row that one of these statements has found."""
    values: dict[str, Any] = {field.name: row._mapping.get(field.name) for field in fields(Job)}
    values |= {"retry": Retry.of_document(row.retry), "state": State(row.state), "webhook": _webhook(row)}
    return Job(**values)


def _select(columns: list[Any]) -> Select[Any]:
    return select(*columns).select_from(WITH_DELIVERIES)


def _webhook(row: Row[Any]) -> Webhook | None:
    if row.webhook is None:
        return None
    if row.delivery is None:
        return Webhook(row.webhook)
    return Webhook(row.webhook, Delivery(row.delivery), row.deliveries, row.next_delivery, row.outcome)


def _moment(name: str, given: Collection[str]) -> ColumnElement[Any] | None:
    if f"{name}_in" in given:
        return later_by(bindparam(f"{name}_in", type_=BigInteger))
    return bindparam(f"{name}_at", type_=jobs.c.due.type) if f"{name}_at" in given else None
