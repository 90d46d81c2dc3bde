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
from typing import Any

from sqlalchemy import ColumnElement, DateTime, Select, Update, delete, func, select, text, update
from sqlalchemy.sql.dml import Delete

from nowait.jobs.table import State, jobs

LEASE = 15.0  # seconds that a worker has a job without a heartbeat
HEARTBEAT = 3.0  # seconds between two
UNCONFIRMED = 5.0  # seconds after which a message is sent again that the broker has not confirmed
CONFIRMED = 600.0  # seconds after which one is that it has
RETENTION = 7 * 86400.0  # seconds that a job is kept behind its end
MAX_LOST = 5  # workers that a job may lose

NOW: ColumnElement[Any] = func.utc_timestamp(6, type_=DateTime())


def later(seconds: float) -> ColumnElement[Any]:
    """The database's time in so many seconds."""
    return func.timestampadd(text("MICROSECOND"), round(seconds * 1_000_000), NOW, type_=DateTime())


# The worker's steps.


def claim(job_id: str, attempt: int, worker: str) -> Update:
    """Begin an attempt, which is the next one of a job that waits."""
    waiting = (jobs.c.state == State.QUEUED.value, jobs.c.attempt == attempt - 1)
    in_time = (_unless_null(jobs.c.eta, jobs.c.eta <= NOW), _unless_null(jobs.c.expires, jobs.c.expires > NOW))
    return _step(jobs.c.id == job_id, *waiting, *in_time).values(
        state=State.RUNNING.value, attempt=attempt, started=NOW, worker=worker[:255], progress=None, due=later(LEASE)
    )


def claimed(job_id: str, attempt: int) -> Select[Any]:
    """What is to be run, for the transaction that has claimed it: name, parameters, retry, failures."""
    return select(jobs.c.name, jobs.c.parameters, jobs.c.retry, jobs.c.failures).where(*_running(job_id, attempt))


def heartbeat(job_id: str, attempt: int) -> Update:
    """Keep the job."""
    return _update(*_running(job_id, attempt)).values(due=later(LEASE))


def report(job_id: str, attempt: int, progress: Any) -> Update:
    """Keep the job, and let clients see how far it is."""
    return _step(*_running(job_id, attempt)).values(progress=progress, due=later(LEASE))


def succeed(job_id: str, attempt: int, result: str) -> Update:
    """End with a result, JSON as text: the last statement of the transaction with the job's effects."""
    return _final(State.SUCCEEDED, *_running(job_id, attempt)).values(result=result)


def succeeded(job_id: str, attempt: int) -> Select[Any]:
    """One row when this attempt has ended with a result: for a worker whose connection was lost in its COMMIT."""
    ended = (jobs.c.attempt == attempt, jobs.c.state == State.SUCCEEDED.value)
    return select(jobs.c.id).where(jobs.c.id == job_id, *ended)


def retry(job_id: str, attempt: int, seconds: float) -> Update:
    """Wait for another attempt, as this one has failed."""
    return _step(*_running(job_id, attempt)).values(
        state=State.QUEUED.value, failures=jobs.c.failures + 1, worker=None, eta=later(seconds), due=later(seconds)
    )


def fail(job_id: str, attempt: int, error: dict[str, Any]) -> Update:
    """End without a result; `error` is for clients."""
    return _final(State.FAILED, *_running(job_id, attempt)).values(failures=jobs.c.failures + 1, error=error)


# The server's steps.


def cancel(job_id: str, owner: str) -> Update:
    """End it: no effect of it is committed from now on."""
    unfinished = jobs.c.state.in_([State.QUEUED.value, State.RUNNING.value])
    return _final(State.CANCELLED, jobs.c.id == job_id, jobs.c.owner == owner, unfinished)


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


def _running(job_id: str, attempt: int) -> tuple[ColumnElement[bool], ...]:
    return jobs.c.id == job_id, jobs.c.attempt == attempt, jobs.c.state == State.RUNNING.value


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
