"""Where jobs are kept: the database."""

import asyncio
from collections.abc import Collection
from functools import partial

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from nowait.jobs import protocol
from nowait.jobs.table import State, jobs
from server.jobs import rows
from server.jobs.connections import DUPLICATE, LOCK_WAIT, Connections, error_number
from server.jobs.model import AlreadyEnded, Job, KeyInUse, KeyReused, NewJob, StoreUnavailable, TooManyJobs
from server.jobs.quota import Quota


class DatabaseStore:
    """The Store of `server.jobs.model`.

    All of its steps may be repeated, so that a connection that is lost while they are committed leaves no doubt.

    Args:
        connections: to the database.
        max_jobs: unfinished jobs that an owner may have, about.
    """

    def __init__(self, connections: Connections, max_jobs: int) -> None:
        self._connections = connections
        self._quota = Quota(max_jobs)

    async def add(self, job: NewJob, timeout: float) -> tuple[Job, bool]:
        """As `Store.add`."""
        return await self._connections.transaction(partial(self._add, job), timeout)

    async def get(self, job_id: str, owner: str, timeout: float) -> Job | None:
        """As `Store.get`."""
        return await self._connections.transaction(partial(_get, job_id, owner), timeout)

    async def list(
        self, owner: str, timeout: float, *, limit: int, before: str | None, state: State | None, name: str | None
    ) -> list[Job]:
        """As `Store.list`."""
        statement = rows.listed(owner, limit, before, state, name)

        async def steps(connection: AsyncConnection) -> list[Job]:
            return [rows.job(row) for row in await connection.execute(statement)]

        return await self._connections.transaction(steps, timeout)

    async def cancel(self, job_id: str, owner: str, timeout: float) -> Job | None:
        """As `Store.cancel`."""
        job = await self._connections.transaction(partial(_cancel, job_id, owner), timeout)
        if job is not None and job.state != State.CANCELLED:
            raise AlreadyEnded(job)
        return job

    async def versions(self, job_ids: Collection[str], timeout: float) -> dict[str, int]:
        """As `Store.versions`."""
        statement = select(jobs.c.id, jobs.c.version).where(jobs.c.id.in_(job_ids))

        async def steps(connection: AsyncConnection) -> dict[str, int]:
            return {row.id: row.version for row in await connection.execute(statement)}

        return await self._connections.transaction(steps, timeout)

    async def _add(self, job: NewJob, connection: AsyncConnection) -> tuple[Job, bool]:
        quota = self._quota
        if quota.stale(job.owner, asyncio.get_running_loop().time()):
            counted = await connection.execute(rows.unfinished(job.owner, quota.most))
            quota.counted(job.owner, counted.scalar_one())
        if quota.full(job.owner):
            # A request that is repeated adds none.
            if before := await _find(job, connection):
                return before
            raise TooManyJobs(f"{quota.most} jobs have not ended")
        values, given = rows.added(job)
        # Of MariaDB, from 10.5 on: one round trip less.
        returning = connection.dialect.insert_returning
        try:
            added = await connection.execute(rows.insertion(given, returning), values)
        except DBAPIError as error:
            number = error_number(error)
            if number == LOCK_WAIT and job.key is not None:
                raise KeyInUse("a request with the key has not ended yet") from error
            if number != DUPLICATE:
                raise
            if before := await _find(job, connection):
                return before
            raise StoreUnavailable("the job of the key has just gone") from error
        if not returning:
            added = await connection.execute(rows.moments(job.id))
        quota.added(job.owner)
        return rows.new(job, added.one()), False


async def _find(job: NewJob, connection: AsyncConnection) -> tuple[Job, bool] | None:
    """The job as add() returns it: kept by these very steps before their connection was lost, or by another request.

    Raises KeyReused.
    """
    if same := await _get(job.id, job.owner, connection):
        return same, False
    if job.key is None:
        return None
    row = (await connection.execute(rows.of_key(job.owner, job.key))).one_or_none()
    if row is None:
        return None
    if row.fingerprint != job.fingerprint:
        raise KeyReused("the key was used with another request")
    return rows.job(row), True


async def _get(job_id: str, owner: str, connection: AsyncConnection) -> Job | None:
    row = (await connection.execute(rows.of_id(job_id, owner))).one_or_none()
    return None if row is None else rows.job(row)


async def _cancel(job_id: str, owner: str, connection: AsyncConnection) -> Job | None:
    await connection.execute(protocol.cancel(job_id, owner))
    return await _get(job_id, owner, connection)
