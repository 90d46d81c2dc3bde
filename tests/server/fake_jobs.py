"""Where jobs are kept, who wakes workers, and a worker: without database and broker."""

import asyncio
import json
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from nowait.jobs.table import Delivery, State
from server.jobs.document import text
from server.jobs.model import (
    MAX_LISTED,
    AlreadyEnded,
    Job,
    KeyInUse,
    KeyReused,
    NewJob,
    NotEnded,
    Publisher,
    Store,
    StoreUnavailable,
    TooManyJobs,
    Webhook,
)


def _short(parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    return parameters if len(json.dumps(parameters)) <= MAX_LISTED else None


class FakeStore(Store):
    """Keeps jobs in memory, and the promises of the other store.

    Args:
        limit: of unfinished jobs.

    Attributes:
        error: what each call fails with; None for none.
        calls: of each method, how often it was called.
        busy: keys whose first request has not ended.
    """

    def __init__(self, limit: int = 1000) -> None:
        self.error: StoreUnavailable | None = None
        self.calls: dict[str, int] = {}
        self.busy: set[str] = set()
        self._limit = limit
        self._rows: dict[str, Job] = {}
        self._keys: dict[tuple[str, str], tuple[str, bytes]] = {}  # ids and fingerprints
        self._now = datetime(2026, 11, 25, 6)

    async def add(self, job: NewJob, timeout: float) -> tuple[Job, bool]:
        await self._enter("add")
        assert job.parameters is not None and (job.countdown is None or job.eta is None)
        if job.key is not None:
            assert job.fingerprint is not None
            if job.key in self.busy:
                raise KeyInUse
            if (found := self._keys.get((job.owner, job.key))) is not None:
                if found[1] != job.fingerprint:
                    raise KeyReused
                return self._rows[found[0]], True
        if sum(not row.state.final for row in self._rows.values()) >= self._limit:
            raise TooManyJobs
        if job.key is not None and job.fingerprint is not None:
            self._keys[job.owner, job.key] = job.id, job.fingerprint
        now = self.moment()
        self._rows[job.id] = row = Job(
            id=job.id, owner=job.owner, name=job.name, queue=job.queue, parameters=job.parameters, retry=job.retry,
            state=State.QUEUED, attempt=0, failures=0, version=0, progress=None, result=None, error=None, created=now,
            eta=job.eta if job.countdown is None else now + timedelta(seconds=job.countdown),
            expires=job.expires if job.expires_in is None else now + timedelta(seconds=job.expires_in),
            started=None, finished=None, schedule=job.schedule,
            webhook=None if job.webhook is None else Webhook(job.webhook),
        )  # fmt: skip
        return row, False

    async def get(self, job_id: str, owner: str | None, timeout: float) -> Job | None:
        await self._enter("get")
        job = self._rows.get(job_id)
        return job if job is not None and owner in (None, job.owner) else None

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
        await self._enter("list")
        found = [
            replace(job, parameters=_short(job.parameters), result=None, history=None)
            for job in sorted(self._rows.values(), key=lambda job: job.id, reverse=True)
            if owner in (None, job.owner) and (before is None or job.id < before)
            and state in (None, job.state) and name in (None, job.name) and schedule in (None, job.schedule)
        ]  # fmt: skip
        return found[:limit]

    async def cancel(self, job_id: str, owner: str | None, timeout: float) -> Job | None:
        await self._enter("cancel")
        job = self._rows.get(job_id)
        if job is None or owner not in (None, job.owner):
            return None
        if job.state is State.CANCELLED:
            return job
        if job.state.final:
            raise AlreadyEnded(job)
        return self.change(job_id, state=State.CANCELLED, finished=self.moment())

    async def retry(self, job_id: str, owner: str | None, timeout: float) -> Job | None:
        await self._enter("retry")
        job = self._rows.get(job_id)
        if job is None or owner not in (None, job.owner) or not job.state.final:
            return job if job is not None and owner in (None, job.owner) else None
        if job.state is not State.FAILED:
            raise AlreadyEnded(job)
        return self.change(
            job_id, state=State.QUEUED, reopened=job.reopened + 1, progress=None, error=None,
            eta=None, expires=None, finished=None, webhook=job.webhook and Webhook(job.webhook.url),
        )  # fmt: skip

    async def redeliver(self, job_id: str, owner: str | None, timeout: float) -> Job | None:
        await self._enter("redeliver")
        job = self._rows.get(job_id)
        if job is None or owner not in (None, job.owner) or job.webhook is None:
            return job if job is not None and owner in (None, job.owner) else None
        if not job.state.final:
            raise NotEnded(job)
        return self.change(job_id, webhook=replace(job.webhook, state=Delivery.PENDING, next=self.moment()))

    async def versions(self, job_ids: Collection[str], timeout: float) -> dict[str, int]:
        await self._enter("versions")
        return {job_id: self._rows[job_id].version for job_id in job_ids if job_id in self._rows}

    def row(self, job_id: str) -> Job:
        """As it is."""
        return self._rows[job_id]

    def change(self, job_id: str, **values: Any) -> Job:
        """Change a row as a client sees it."""
        row = self._rows[job_id]
        self._rows[job_id] = row = replace(row, version=row.version + 1, **values)
        return row

    def remove(self, job_id: str) -> None:
        """Somebody has deleted the row."""
        del self._rows[job_id]

    async def _enter(self, method: str) -> None:
        self.calls[method] = self.calls.get(method, 0) + 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error

    def moment(self) -> datetime:
        """Another one, each time."""
        self._now += timedelta(microseconds=1)
        return self._now


class FakeWorker:
    """Does what workers do to rows, a step at a time."""

    def __init__(self, store: FakeStore) -> None:
        self._store = store

    async def claim(self, job_id: str) -> None:
        """Begin the next attempt."""
        row = self._store.row(job_id)
        assert row.state is State.QUEUED
        moment = self._store.moment()
        self._store.change(
            job_id, state=State.RUNNING, attempt=row.attempt + 1, started=moment, progress=None, worker="tests"
        )

    async def report(self, job_id: str, progress: Any) -> None:
        """Report progress."""
        self._running(job_id, progress=progress)

    async def succeed(self, job_id: str, result: str) -> None:
        """End with a result, JSON as text."""
        self._running(job_id, state=State.SUCCEEDED, result=result, finished=self._store.moment())

    async def fail(self, job_id: str, error: dict[str, Any]) -> None:
        """End with an error."""
        reason = error["type"].rpartition(":")[2]
        history = self._history(job_id, reason)
        self._running(job_id, state=State.FAILED, error=error, finished=self._store.moment(), history=history)

    async def retry(self, job_id: str, seconds: float) -> None:
        """Fail, to be tried again."""
        eta = self._store.moment() + timedelta(seconds=seconds)
        self._running(job_id, state=State.QUEUED, eta=eta, history=self._history(job_id, "task-failed"))

    def _history(self, job_id: str, reason: str) -> list[dict[str, Any]]:
        row = self._store.row(job_id)
        started, ended = (text(moment) for moment in (row.started, self._store.moment()))
        attempt = {"attempt": row.attempt, "worker": row.worker, "started": started, "ended": ended, "reason": reason}
        return [*(row.history or []), attempt]

    def _running(self, job_id: str, **values: Any) -> None:
        assert self._store.row(job_id).state is State.RUNNING
        self._store.change(job_id, **values)


class FakePublisher(Publisher):
    """Notes what is sent.

    Attributes:
        sent: the jobs' ids, and for how long somebody waits.
        answers: the futures of those who wait, by the ids of their jobs.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[str, float | None]] = []
        self.answers: dict[str, asyncio.Future[None]] = {}

    def send(self, job: Job, wait: float | None = None) -> "asyncio.Future[None] | None":
        self.sent.append((job.id, wait))
        if wait is None:
            return None
        self.answers[job.id] = answer = asyncio.get_running_loop().create_future()
        return answer
