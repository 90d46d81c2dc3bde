"""Where jobs are kept: the database."""

import asyncio
import json
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from nowait.jobs import protocol
from nowait.jobs.table import State, jobs
from server.jobs import rows
from server.jobs.batches import Batches
from server.jobs.connections import DUPLICATE, LOCK_WAIT, Connections, error_number
from server.jobs.model import (
    AlreadyEnded,
    Job,
    KeyInUse,
    KeyReused,
    NewJob,
    NotEnded,
    StoreUnavailable,
    TooManyJobs,
)
from server.jobs.quota import Quota

_LARGEST_BATCH = 1024 * 1024  # characters of parameters; far below the database's max_allowed_packet


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
        self._batches = Batches(self._add_together, _LARGEST_BATCH)

    async def add(self, job: NewJob, timeout: float) -> tuple[Job, bool]:
        """As `Store.add`."""
        if job.key is None:
            # Nothing stands in the way of a job without a key: it may share the fate of others.
            return await self._batches.add(job, len(json.dumps(job.parameters)), timeout), False
        return await self._connections.transaction(partial(self._add, job), timeout)

    async def get(self, job_id: str, owner: str | None, timeout: float) -> Job | None:
        """As `Store.get`."""
        return await self._connections.transaction(partial(_get, job_id, owner), timeout)

    async def list(
        self,
        owner: str | None,
        timeout: float,
        *,
        limit: int,
        before: str | None,
        state: State | None,
        name: str | None,
        schedule: str | None = None,
    ) -> list[Job]:
        """As `Store.list`."""
        statement = rows.listed(owner, limit, before, state, name, schedule)

        async def steps(connection: AsyncConnection) -> list[Job]:
            return [rows.job(row) for row in await connection.execute(statement)]

        return await self._connections.transaction(steps, timeout)

    async def cancel(self, job_id: str, owner: str | None, timeout: float) -> Job | None:
        """As `Store.cancel`."""
        job = await self._connections.transaction(partial(_cancel, job_id, owner), timeout)
        if job is not None and job.state != State.CANCELLED:
            raise AlreadyEnded(job)
        return job

    async def retry(self, job_id: str, owner: str | None, timeout: float) -> Job | None:
        """As `Store.retry`."""
        job = await self._connections.transaction(partial(_retry, job_id, owner), timeout)
        if job is not None and job.state.final:
            raise AlreadyEnded(job)
        return job

    async def redeliver(self, job_id: str, owner: str | None, timeout: float) -> Job | None:
        """As `Store.redeliver`."""
        job = await self._connections.transaction(partial(_redeliver, job_id, owner), timeout)
        if job is not None and job.webhook is not None and not job.state.final:
            raise NotEnded(job)
        return job

    async def versions(self, job_ids: Collection[str], timeout: float) -> dict[str, int]:
        """As `Store.versions`."""
        statement = select(jobs.c.id, jobs.c.version).where(jobs.c.id.in_(job_ids))

        async def steps(connection: AsyncConnection) -> dict[str, int]:
            return {row.id: row.version for row in await connection.execute(statement)}

        return await self._connections.transaction(steps, timeout)

    async def _add_together(self, added: Sequence[NewJob], timeout: float) -> Sequence[Job | Exception]:
        return await self._connections.transaction(partial(self._add_all, added, {}), timeout)

    async def _add_all(
        self, added: Sequence[NewJob], fits: dict[str, bool], connection: AsyncConnection
    ) -> Sequence[Job | Exception]:
        """Add jobs without keys; TooManyJobs for those that there is no room for.

        Which these are is decided once, in `fits`, by their ids: when these steps are repeated, what they have
        committed is counted.
        """
        await self._count({job.owner for job in added}, connection)
        results: dict[str, Job | Exception] = {}
        fitting = []
        for job in added:
            if job.id not in fits:
                fits[job.id] = not self._quota.full(job.owner)
                if fits[job.id]:
                    self._quota.added(job.owner)
            if fits[job.id]:
                fitting.append(job)
            else:
                results[job.id] = self._too_many()
        try:
            found = await _insert(fitting, connection)
        except DBAPIError as error:
            # All of them were committed by these very steps before their connection was lost.
            if error_number(error) != DUPLICATE:
                raise
            found = list(await connection.execute(rows.moments([job.id for job in fitting])))
        moments = {row.id: row for row in found}
        results |= {job.id: rows.new(job, moments[job.id]) for job in fitting}
        return [results[job.id] for job in added]

    async def _add(self, job: NewJob, connection: AsyncConnection) -> tuple[Job, bool]:
        """Add a job with a key."""
        await self._count({job.owner}, connection)
        if self._quota.full(job.owner):
            # A request that is repeated adds none.
            if before := await _find(job, connection):
                return before
            raise self._too_many()
        try:
            [row] = await _insert([job], connection)
        except DBAPIError as error:
            number = error_number(error)
            if number == LOCK_WAIT:
                raise KeyInUse("a request with the key has not ended yet") from error
            if number != DUPLICATE:
                raise
            if before := await _find(job, connection):
                return before
            raise StoreUnavailable("the job of the key has just gone") from error
        self._quota.added(job.owner)
        return rows.new(job, row), False

    async def _count(self, owners: Collection[str], connection: AsyncConnection) -> None:
        quota = self._quota
        for owner in owners:
            if quota.stale(owner, asyncio.get_running_loop().time()):
                counted = await connection.execute(rows.unfinished(owner, quota.most))
                quota.counted(owner, counted.scalar_one())

    def _too_many(self) -> TooManyJobs:
        return TooManyJobs(f"{self._quota.most} jobs have not ended")


async def _insert(added: Sequence[NewJob], connection: AsyncConnection) -> list[Row[Any]]:
    """The rows of moments() of jobs that are added."""
    # Of MariaDB, from 10.5 on: one round trip less.
    returning = connection.dialect.insert_returning
    alike: dict[frozenset[str], list[dict[str, Any]]] = {}
    for job in added:
        values, given = rows.added(job)
        alike.setdefault(given, []).append(values)
    found: list[Row[Any]] = []
    for given, values_of_all in alike.items():
        result = await connection.execute(rows.insertion(given, returning), values_of_all)
        if returning:
            found += result
    if not returning:
        found += await connection.execute(rows.moments([job.id for job in added]))
    return found


async def _find(job: NewJob, connection: AsyncConnection) -> tuple[Job, bool] | None:
    """The job as add() returns it: kept by these very steps before their connection was lost, or by another request.

    Raises KeyReused.
    """
    if same := await _get(job.id, job.owner, connection):
        return same, False
    assert job.key is not None
    row = (await connection.execute(rows.of_key(job.owner, job.key))).one_or_none()
    if row is None:
        return None
    if row.fingerprint != job.fingerprint:
        raise KeyReused("the key was used with another request")
    return rows.job(row), True


async def _get(job_id: str, owner: str | None, connection: AsyncConnection) -> Job | None:
    row = (await connection.execute(rows.of_id(job_id, owner))).one_or_none()
    return None if row is None else rows.job(row)


async def _cancel(job_id: str, owner: str | None, connection: AsyncConnection) -> Job | None:
    await connection.execute(protocol.cancel(job_id, owner))
    return await _get(job_id, owner, connection)


async def _retry(job_id: str, owner: str | None, connection: AsyncConnection) -> Job | None:
    if (await connection.execute(protocol.reopen(job_id, owner))).rowcount:
        # There will be another end, which is delivered instead.
        await connection.execute(protocol.withdraw([job_id]))
    return await _get(job_id, owner, connection)


async def _redeliver(job_id: str, owner: str | None, connection: AsyncConnection) -> Job | None:
    # The job first, as all do who change both.
    if (await connection.execute(protocol.redeliver(job_id, owner))).rowcount:
        if not (await connection.execute(protocol.deliver_again(job_id))).rowcount:
            await connection.execute(protocol.deliver([job_id]))
    return await _get(job_id, owner, connection)
