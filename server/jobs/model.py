"""A job as the server knows it, and where jobs are kept. No I/O."""

from asyncio import Future
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from nowait.jobs.retry import Retry
from nowait.jobs.table import Delivery, State

MAX_LISTED = 16 * 1024  # bytes of parameters that a list has, at most
MAX_WEBHOOK_URL = 2048  # characters


@dataclass(frozen=True)
class NewJob:
    """What is asked for.

    Attributes:
        id: UUID version 7, as text.
        owner: whose it is; "" where no keys are configured.
        name: of the job, as the catalogue lists it.
        queue: that its workers serve.
        parameters: its parameters, JSON values that the catalogue has found good.
        retry: when it is tried again.
        countdown: seconds before which it is not begun; None for none. Not with `eta`.
        eta: the moment before which it is not begun, UTC without a zone; None for none.
        expires_in: seconds after which it is not begun any more; None for none. Not with `expires`.
        expires: the moment after which it is not begun, UTC without a zone; None for none.
        key: what makes a repeated request the same one; None for none.
        fingerprint: SHA-256 of the canonical request, 32 bytes; None without a key.
        schedule: the name of the schedule that it is one of, out of turn; None for none.
        webhook: the URL that gets its end; None for none.
        traceparent: of the span that it is a part of; None for none.
    """

    id: str
    owner: str
    name: str
    queue: str
    parameters: dict[str, Any]
    retry: Retry
    countdown: float | None = None
    eta: datetime | None = None
    expires_in: float | None = None
    expires: datetime | None = None
    key: str | None = None
    fingerprint: bytes | None = None
    schedule: str | None = None
    webhook: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True)
class Webhook:
    """What becomes of a job's webhook.

    Attributes:
        url: that gets the end of the job.
        state: PENDING also as long as the job has not ended.
        attempts: that were begun.
        next: the moment of the next one; None for none, and as long as the job has not ended.
        outcome: of the last one that has ended, see `server.webhooks.outcome`; None for none.
    """

    url: str
    state: Delivery = Delivery.PENDING
    attempts: int = 0
    next: datetime | None = None
    outcome: str | None = None


@dataclass(frozen=True)
class Job:
    """A row of the table; moments are UTC without a zone, by the database's clock.

    Attributes:
        parameters: JSON values; None in a list where they take more than MAX_LISTED.
        attempt: attempts that were begun.
        failures: of these, that raised.
        version: one more with each change that a client sees.
        result: JSON text; None as long as there is none, and where it was not asked for.
        error: what a client may know of its failure, a problem document; None for none.
        eta: before which it is not begun (again); None for none.
        schedule: the name of the schedule that has made it; None for none.
        tick: of the schedule; None where it was made out of turn.
        worker: that has the last attempt, or had it; None before the first.
        reopened: how often a client had it tried again at its end.
        history: the attempts that have ended without success, objects as JSON has them; None for none, and where it
            was not asked for.
        webhook: None for none.
        traceparent: as that of NewJob.
    """

    id: str
    owner: str
    name: str
    queue: str
    parameters: dict[str, Any] | None
    retry: Retry
    state: State
    attempt: int
    failures: int
    version: int
    progress: Any
    result: str | None
    error: dict[str, Any] | None
    created: datetime
    eta: datetime | None
    expires: datetime | None
    started: datetime | None
    finished: datetime | None
    schedule: str | None = None
    tick: datetime | None = None
    worker: str | None = None
    reopened: int = 0
    history: list[dict[str, Any]] | None = None
    webhook: Webhook | None = None
    traceparent: str | None = None


class StoreUnavailable(Exception):
    """The database did not answer in time: whoever has asked knows nothing. `str()` has the reason, for the log."""


class SchemaMissing(StoreUnavailable):
    """The database has no table of jobs, or one that is too old."""


class KeyReused(Exception):
    """The key was used with another request."""


class KeyInUse(Exception):
    """A first request with the key has not ended yet."""


class TooManyJobs(Exception):
    """The owner has as many unfinished jobs as allowed."""


class AlreadyEnded(Exception):
    """The job cannot be cancelled any more, or cannot be tried again.

    Attributes:
        job: as it has ended.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(f"the job has ended: {job.state.value}")
        self.job = job


class NotEnded(Exception):
    """The job has no end yet that could be delivered.

    Attributes:
        job: as it is.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(f"the job has not ended: {job.state.value}")
        self.job = job


class Store(Protocol):
    """Where jobs are kept. Each call ends within `timeout` seconds, and raises StoreUnavailable then.

    Jobs of other owners are as none; to the owner None, there are those of all.
    """

    async def add(self, job: NewJob, timeout: float) -> tuple[Job, bool]:
        """Keep a job. Once it is committed, its Publisher's send() wakes a worker; without that, it takes seconds.

        Returns the job, and True when a request with its key had made it before: that one has sent it.

        Raises KeyReused, KeyInUse, TooManyJobs and StoreUnavailable; nothing was kept then, or the same call again
        with the key finds it.
        """

    async def get(self, job_id: str, owner: str | None, timeout: float) -> Job | None:
        """The job, with its result; None when there is none."""

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
        """Up to `limit` jobs without what is long, newest first: older than the id `before`, and of these only."""

    async def cancel(self, job_id: str, owner: str | None, timeout: float) -> Job | None:
        """Cancel it, also one that is cancelled; None when there is none. Raises AlreadyEnded."""

    async def retry(self, job_id: str, owner: str | None, timeout: float) -> Job | None:
        """Have a job that has failed tried again; one that has not ended is left as it is.

        Once it is committed, its Publisher's send() wakes a worker.

        Returns the job, and None when there is none. Raises AlreadyEnded for one that has ended otherwise.
        """

    async def redeliver(self, job_id: str, owner: str | None, timeout: float) -> Job | None:
        """Have the webhook of a job that has ended sent now, whatever has become of it.

        Returns the job, unchanged when it has no webhook, and None when there is none. Raises NotEnded.
        """

    async def versions(self, job_ids: Collection[str], timeout: float) -> dict[str, int]:
        """The versions of those that are there."""


class Publisher(Protocol):
    """Sends the messages that wake workers up. What gets lost, the relay sends again, as the database has the job."""

    def send(self, job: Job, wait: float | None = None) -> "Future[None] | None":
        """Wake a worker for a job that add() has made, unless its eta is still to come. Never blocks, never raises.

        Args:
            job: as add() returned it.
            wait: seconds for which somebody waits for its end; None for nobody.

        Returns:
            With `wait`, a future that is done once the worker has answered, or when no answer is to be expected any
            more: the job may have ended, and get() knows. It never fails, and may be left alone. None where nobody
            waits, or nothing was sent.
        """
