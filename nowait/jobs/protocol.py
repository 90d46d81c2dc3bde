"""The life of a job: each step is one statement, which finds no row when the job has gone on without it. No I/O.

    queued ──claim──▶ running ──succeed──▶ succeeded
      ▲                 ├──────fail──────▶ failed
      └──retry, recall──┘
    queued ──expire──▶ expired
    queued, running ──cancel──▶ cancelled
    failed ──reopen──▶ queued

The database owns the job; the message that a worker gets is a wake-up. What a worker does names the attempt that it
claimed, the fencing token: of a worker that was thought to be lost, nothing reaches the row any more.
"""

from collections.abc import Collection
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Insert,
    Integer,
    Select,
    String,
    Update,
    bindparam,
    case,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.sql.dml import Delete

from nowait.jobs.table import Delivery, State, deliveries, jobs

LEASE = 14.0  # seconds that a worker has a job without a heartbeat; a server notices within another
HEARTBEAT = 3.0  # seconds between two
UNCONFIRMED = 5.0  # seconds after which a message is sent again that the broker has not confirmed
CONFIRMED = 600.0  # seconds after which one is that it has
ENDED = 3600.0  # seconds behind its end after which a server looks at a job, to keep or to delete it
FOREVER = 100 * 365 * 86400.0  # seconds that a job is kept that is not to be deleted
MAX_LOST = 5  # workers that a job may lose
MAX_HISTORY = 20  # attempts that a job's history has, the last ones

LOST = "lost"  # the reason of an attempt whose worker was

NOW: ColumnElement[Any] = func.utc_timestamp(6, type_=DateTime())


Step = tuple[Update, dict[str, Any]]
"""A statement that was made once, and its values, for `connection.execute(*step)`: to make one for each job would cost
more than to send it."""


def later(seconds: float) -> ColumnElement[Any]:
    """The database's time in so many seconds."""
    return later_by(microseconds(seconds))


def later_by(microseconds: int | ColumnElement[int]) -> ColumnElement[Any]:
    """The same, in the database's unit."""
    return func.timestampadd(text("MICROSECOND"), microseconds, NOW, type_=DateTime())


def microseconds(seconds: float) -> int:
    """The database's unit."""
    return round(seconds * 1_000_000)


# The worker's steps.


def claim(job_id: str, attempt: int, worker: str) -> Step:
    """Begin an attempt, which is the next one of a job that waits."""
    return _CLAIM, {"the_job": job_id, "held": attempt, "by": worker[:255], "lease": microseconds(LEASE)}


def claimed(job_id: str, attempt: int) -> tuple[Select[Any], dict[str, Any]]:
    """What is to be run, for the transaction that has claimed it: name, parameters, retry, failures."""
    return _CLAIMED, {"the_job": job_id, "held": attempt}


def heartbeat(job_id: str, attempt: int) -> Step:
    """Keep the job."""
    return _HEARTBEAT, {"the_job": job_id, "held": attempt, "lease": microseconds(LEASE)}


def report(job_id: str, attempt: int, progress: Any) -> Step:
    """Keep the job, and let clients see how far it is."""
    return _REPORT, {"the_job": job_id, "held": attempt, "far": progress, "lease": microseconds(LEASE)}


def succeed(job_id: str, attempt: int, result: str) -> Step:
    """End with a result, JSON as text: the last statement of the transaction with the job's effects."""
    return _SUCCEED, {"the_job": job_id, "held": attempt, "value": result}


def succeeded(job_id: str, attempt: int) -> tuple[Select[Any], dict[str, Any]]:
    """One row when this attempt has ended with a result: for a worker whose connection was lost in its COMMIT."""
    return _SUCCEEDED, {"the_job": job_id, "held": attempt}


def retry(job_id: str, attempt: int, seconds: float, reason: str) -> Step:
    """Wait for another attempt, as this one has failed; `reason` is the end of a problem's type."""
    return _RETRY, {"the_job": job_id, "held": attempt, "pause": microseconds(seconds), "why": reason}


def fail(job_id: str, attempt: int, error: dict[str, Any]) -> Step:
    """End without a result; `error` is for clients, a problem document."""
    reason = error["type"].rpartition(":")[2]
    return _FAIL, {"the_job": job_id, "held": attempt, "problem": error, "why": reason}


# The server's steps.


def of_owner(owner: str | None) -> list[ColumnElement[bool]]:
    """The condition of an owner's jobs; none for None, who is everybody."""
    return [] if owner is None else [jobs.c.owner == owner]


def cancel(job_id: str, owner: str | None) -> Update:
    """End it: no effect of it is committed from now on."""
    unfinished = jobs.c.state.in_([State.QUEUED.value, State.RUNNING.value])
    return _final(State.CANCELLED, jobs.c.id == job_id, *of_owner(owner), unfinished)


def reopen(job_id: str, owner: str | None) -> Update:
    """Have a job that has failed wait for another attempt, whatever it has lost and however late it is.

    The lost workers are forgotten, and so is its end. What it has used up of its retries stays used up: without any
    left, this is one attempt more.
    """
    return _step(jobs.c.id == job_id, *of_owner(owner), jobs.c.state == State.FAILED.value).values(
        state=State.QUEUED.value,
        due=later(UNCONFIRMED),
        forgiven=jobs.c.attempt - jobs.c.failures,
        reopened=jobs.c.reopened + 1,
        progress=None,
        error=None,
        eta=None,
        expires=None,
        finished=None,
    )


def redeliver(job_id: str, owner: str | None) -> Update:
    """Keep a job that has ended for the delivery of its webhook, which deliver_again() or deliver() have begin."""
    final = [state.value for state in State if state.final]
    job = (jobs.c.id == job_id, *of_owner(owner), jobs.c.state.in_(final), jobs.c.webhook.is_not(None))
    return _step(*job).values(due=later(ENDED))


def deliver_again(job_id: str) -> Update:
    """Have a delivery, of a job that is locked, attempted now, whatever comes of an attempt that is under way."""
    again = update(deliveries).where(deliveries.c.job_id == job_id)
    return again.values(state=Delivery.PENDING.value, due=NOW, attempted=None)


@cache
def due(limit: int, publishing: bool = True) -> Select[Any]:
    """The jobs that have to be looked at, locked, without those that others look at.

    Args:
        limit: how many, the longest due first.
        publishing: False leaves out those that only wait for a message.
    """
    columns = [jobs.c[name] for name in ("id", "queue", "state", "attempt", "failures", "forgiven", "traceparent")]
    expired = jobs.c.expires <= NOW
    webhook = jobs.c.webhook.is_not(None).label("webhook")
    # Read, and not locked: whoever changes it has the job's row.
    delivery = select(deliveries.c.state).where(deliveries.c.job_id == jobs.c.id).scalar_subquery().label("delivery")
    age = func.timestampdiff(text("MICROSECOND"), jobs.c.finished, NOW).label("age")
    looked_at = () if publishing else ((jobs.c.state != State.QUEUED.value) | expired,)
    # Without the index's name the database scans the table, and locks what it sees of it.
    return (
        select(*columns, expired.label("expired"), webhook, delivery, age)
        .with_hint(jobs, "FORCE INDEX (due)")
        .where(jobs.c.due <= NOW, *looked_at)
        .order_by(jobs.c.due)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )


def postpone(job_ids: Collection[str], seconds: float) -> Update:
    """Look at jobs, locked by due(), again in so many seconds."""
    return _update(jobs.c.id.in_(job_ids)).values(due=later(seconds))


def wait(job_ids: Collection[str], seconds: float) -> Update:
    """Look at jobs that wait, locked by due(), again in so many seconds, or when they expire."""
    return _update(jobs.c.id.in_(job_ids)).values(due=_or_expiry(later(seconds)))


def expire(job_ids: Collection[str]) -> Update:
    """End jobs, locked by due(), that were not begun in time."""
    return _final(State.EXPIRED, jobs.c.id.in_(job_ids))


def recall(job_id: str, seconds: float) -> Update:
    """Wait for another attempt of a job, locked by due(), whose worker is lost."""
    return _step(jobs.c.id == job_id).values(
        state=State.QUEUED.value, eta=later(seconds), due=_or_expiry(later(seconds)), history=_history(LOST)
    )


def give_up(job_id: str, error: dict[str, Any]) -> Update:
    """End a job, locked by due(), that has lost too many workers."""
    return _final(State.FAILED, jobs.c.id == job_id).values(error=error, history=_history(LOST))


def deliver(job_ids: Collection[str]) -> Insert:
    """Have the end of jobs, which are locked, delivered; one that has a delivery keeps it as it is."""
    rows = [{"job_id": job_id, "state": Delivery.PENDING.value, "due": NOW} for job_id in job_ids]
    return mysql.insert(deliveries).values(rows).on_duplicate_key_update(job_id=deliveries.c.job_id)


def keep(job_ids: Collection[str], seconds: float) -> Update:
    """Look at jobs that have ended again so many seconds behind their end."""
    kept = microseconds(min(seconds, FOREVER))
    until = func.timestampadd(text("MICROSECOND"), kept, jobs.c.finished, type_=DateTime())
    return _update(jobs.c.id.in_(job_ids)).values(due=until)


def prune(job_ids: Collection[str]) -> tuple[Delete, Delete]:
    """Delete jobs, locked by due() or otherwise, with all that there is of them."""
    return withdraw(job_ids), delete(jobs).where(jobs.c.id.in_(job_ids))


def withdraw(job_ids: Collection[str]) -> Delete:
    """Delete the deliveries of jobs that are locked."""
    return delete(deliveries).where(deliveries.c.job_id.in_(job_ids))


def confirm(job_ids: Collection[str], attempt: int) -> Update:
    """Have nothing more sent for jobs that wait for this attempt: the broker has the message."""
    waiting = (jobs.c.state == State.QUEUED.value, jobs.c.attempt == attempt - 1)
    return _update(jobs.c.id.in_(job_ids), *waiting).values(due=_or_expiry(later(CONFIRMED)))


def _step(*where: ColumnElement[bool]) -> Update:
    return _update(*where).values(version=jobs.c.version + 1)


def _update(*where: ColumnElement[bool]) -> Update:
    # By the index of the states, as the database may choose, a row were locked from its other end than by due(): a
    # deadlock, for which a worker runs its job once more.
    return update(jobs).with_hint("FORCE INDEX (PRIMARY)").where(*where)


def _final(state: State, *where: ColumnElement[bool]) -> Update:
    # The server that finds it due has its webhook delivered, and knows how long it is kept.
    due = case((jobs.c.webhook.is_not(None), NOW), else_=later(ENDED))
    return _step(*where).values(state=state.value, finished=NOW, due=due)


def _history(reason: str | ColumnElement[str]) -> ColumnElement[Any]:
    """The history with the attempt that ends now.

    The statement must not change what it is made of: a database sets one column after the other, and this one last.
    """
    moment = "%Y-%m-%dT%H:%i:%s.%fZ"
    attempt = func.json_object(
        "attempt", jobs.c.attempt, "worker", jobs.c.worker, "started", func.date_format(jobs.c.started, moment),
        "ended", func.date_format(NOW, moment), "reason", reason,
    )  # fmt: skip
    before = func.coalesce(jobs.c.history, func.json_array())
    full = func.json_length(before) >= MAX_HISTORY
    return func.json_array_append(case((full, func.json_remove(before, "$[0]")), else_=before), "$", attempt)


def _or_expiry(moment: ColumnElement[Any]) -> ColumnElement[Any]:
    """That moment, or the one at which the job expires, if that comes first."""
    return func.least(moment, func.coalesce(jobs.c.expires, moment), type_=DateTime())


def _unless_null(column: ColumnElement[Any], condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return column.is_(None) | condition


_JOB, _HELD = jobs.c.id == bindparam("the_job"), bindparam("held", type_=Integer)
_RUNNING = (_JOB, jobs.c.attempt == _HELD, jobs.c.state == State.RUNNING.value)
_LEASE, _PAUSE = bindparam("lease", type_=BigInteger), bindparam("pause", type_=BigInteger)
_WHY = bindparam("why", type_=String)
_CLAIM = _step(
    _JOB,
    jobs.c.state == State.QUEUED.value,
    jobs.c.attempt == _HELD - 1,
    _unless_null(jobs.c.eta, jobs.c.eta <= NOW),
    _unless_null(jobs.c.expires, jobs.c.expires > NOW),
).values(
    state=State.RUNNING.value, attempt=_HELD, started=NOW, worker=bindparam("by"), progress=None, due=later_by(_LEASE)
)
_CLAIMED = select(jobs.c.name, jobs.c.parameters, jobs.c.retry, jobs.c.failures).where(*_RUNNING)
_HEARTBEAT = _update(*_RUNNING).values(due=later_by(_LEASE))
_REPORT = _step(*_RUNNING).values(progress=bindparam("far"), due=later_by(_LEASE))
_SUCCEED = _final(State.SUCCEEDED, *_RUNNING).values(result=bindparam("value"))
_SUCCEEDED = select(jobs.c.id).where(_JOB, jobs.c.attempt == _HELD, jobs.c.state == State.SUCCEEDED.value)
_RETRY = _step(*_RUNNING).values(
    state=State.QUEUED.value,
    failures=jobs.c.failures + 1,
    eta=later_by(_PAUSE),
    due=_or_expiry(later_by(_PAUSE)),
    history=_history(_WHY),
)
_FAIL = _final(State.FAILED, *_RUNNING).values(
    failures=jobs.c.failures + 1, error=bindparam("problem"), history=_history(_WHY)
)
