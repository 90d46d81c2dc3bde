"""The life of a job: each step is one statement, which finds no row when the job has gone on without it. No I/O.

    queued ──claim──▶ running ──succeed──▶ succeeded
      ▲                 ├──────fail──────▶ failed
      └──retry, recall──┘
    queued ──expire──▶ expired
    queued, running ──cancel──▶ cancelled

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
    Integer,
    Select,
    Update,
    bindparam,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.sql.dml import Delete

from nowait.jobs.table import State, jobs

LEASE = 14.0  # seconds that a worker has a job without a heartbeat; a server notices within another
HEARTBEAT = 3.0  # seconds between two
UNCONFIRMED = 5.0  # seconds after which a message is sent again that the broker has not confirmed
CONFIRMED = 600.0  # seconds after which one is that it has
RETENTION = 7 * 86400.0  # seconds that a job is kept behind its end
MAX_LOST = 5  # workers that a job may lose

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


def retry(job_id: str, attempt: int, seconds: float) -> Step:
    """Wait for another attempt, as this one has failed."""
    return _RETRY, {"the_job": job_id, "held": attempt, "pause": microseconds(seconds)}


def fail(job_id: str, attempt: int, error: dict[str, Any]) -> Step:
    """End without a result; `error` is for clients."""
    return _FAIL, {"the_job": job_id, "held": attempt, "problem": error}


# The server's steps.


def cancel(job_id: str, owner: str) -> Update:
    """End it: no effect of it is committed from now on."""
    unfinished = jobs.c.state.in_([State.QUEUED.value, State.RUNNING.value])
    return _final(State.CANCELLED, jobs.c.id == job_id, jobs.c.owner == owner, unfinished)


@cache
def due(limit: int, publishing: bool = True) -> Select[Any]:
    """The jobs that have to be looked at, locked, without those that others look at.

    Args:
        limit: how many, the longest due first.
        publishing: False leaves out those that only wait for a message.
    """
    columns = [jobs.c[name] for name in ("id", "queue", "state", "attempt", "failures")]
    expired = jobs.c.expires <= NOW
    looked_at = () if publishing else ((jobs.c.state != State.QUEUED.value) | expired,)
    # Without the index's name the database scans the table, and locks what it sees of it.
    return (
        select(*columns, expired.label("expired"))
        .with_hint(jobs, "FORCE INDEX (due)")
        .where(jobs.c.due <= NOW, *looked_at)
        .order_by(jobs.c.due)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )


def postpone(job_ids: Collection[str], seconds: float) -> Update:
    """Look at jobs, locked by due(), again in so many seconds."""
    return _update(jobs.c.id.in_(job_ids)).values(due=later(seconds))


def expire(job_ids: Collection[str]) -> Update:
    """End jobs, locked by due(), that were not begun in time."""
    return _final(State.EXPIRED, jobs.c.id.in_(job_ids))


def recall(job_id: str, seconds: float) -> Update:
    """Wait for another attempt of a job, locked by due(), whose worker is lost."""
    return _step(jobs.c.id == job_id).values(
        state=State.QUEUED.value, worker=None, eta=later(seconds), due=later(seconds)
    )


def give_up(job_id: str, error: dict[str, Any]) -> Update:
    """End a job, locked by due(), that has lost too many workers."""
    return _final(State.FAILED, jobs.c.id == job_id).values(error=error)


def prune(job_ids: Collection[str]) -> Delete:
    """Delete jobs, locked by due(), whose time is over."""
    return delete(jobs).where(jobs.c.id.in_(job_ids))


def confirm(job_ids: Collection[str], attempt: int) -> Update:
    """Have nothing more sent for jobs that wait for this attempt: the broker has the message."""
    longest = func.least(later(CONFIRMED), func.coalesce(jobs.c.expires, later(CONFIRMED)), type_=DateTime())
    waiting = (jobs.c.state == State.QUEUED.value, jobs.c.attempt == attempt - 1)
    return _update(jobs.c.id.in_(job_ids), *waiting).values(due=longest)


def _step(*where: ColumnElement[bool]) -> Update:
    return _update(*where).values(version=jobs.c.version + 1)


def _update(*where: ColumnElement[bool]) -> Update:
    # By the index of the states, as the database may choose, a row were locked from its other end than by due(): a
    # deadlock, for which a worker runs its job once more.
    return update(jobs).with_hint("FORCE INDEX (PRIMARY)").where(*where)


def _final(state: State, *where: ColumnElement[bool]) -> Update:
    return _step(*where).values(state=state.value, finished=NOW, due=later(RETENTION))


def _unless_null(column: ColumnElement[Any], condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return column.is_(None) | condition


_JOB, _HELD = jobs.c.id == bindparam("the_job"), bindparam("held", type_=Integer)
_RUNNING = (_JOB, jobs.c.attempt == _HELD, jobs.c.state == State.RUNNING.value)
_LEASE, _PAUSE = bindparam("lease", type_=BigInteger), bindparam("pause", type_=BigInteger)
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
    worker=None,
    eta=later_by(_PAUSE),
    due=later_by(_PAUSE),
)
_FAIL = _final(State.FAILED, *_RUNNING).values(failures=jobs.c.failures + 1, error=bindparam("problem"))
