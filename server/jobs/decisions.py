"""What is to be done about jobs that are due. No I/O."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.sql.dml import UpdateBase

from nowait.jobs import protocol
from nowait.jobs.protocol import ENDED, MAX_LOST, UNCONFIRMED
from nowait.jobs.retry import backoff
from nowait.jobs.table import Delivery, State

WORKER_LOST = {
    "type": "urn:problem-type:nowait:lost",
    "title": "Worker lost",
    "detail": f"More than {MAX_LOST} workers were lost while they ran the job.",
}

Retention = Mapping[State, float]
"""Seconds that jobs are kept behind their end, by their final state; inf for ever."""

_PUT_OFF = 30.0  # seconds for which a job waits whose queue takes no messages
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 600.0  # seconds; a job that ends its workers should not end all of them at once


@dataclass(frozen=True)
class DueJob:
    """A row of protocol.due().

    Attributes:
        expired: it was to begin before now.
        webhook: its end is to be delivered.
        delivery: what has become of that; None when it has not begun.
        age: seconds since its end; None for a job that has not ended.
        traceparent: as that of NewJob.
    """

    id: str
    queue: str
    state: State
    attempt: int
    failures: int
    forgiven: int
    expired: bool
    webhook: bool = False
    delivery: Delivery | None = None
    age: float | None = None
    traceparent: str | None = None


@dataclass(frozen=True)
class Message:
    """What wakes up a worker: it may begin this attempt of the job, which belongs to a trace, or None."""

    job_id: str
    attempt: int
    queue: str
    traceparent: str | None = None


@dataclass
class Plan:
    """What is to be done: statements, in the transaction that has locked the jobs, then messages, once it is committed.

    Attributes:
        expire, prune: ids of jobs.
        keep: ids of jobs that have ended, by the seconds that they are kept behind their end.
        deliver: ids of those whose webhook is due.
        hold: ids of those that would be deleted, if their webhook were not pending.
        recall: ids of jobs, with the seconds until their next attempt.
        give_up: ids of jobs.
        messages: for the jobs that wait.
        put_off: ids of those that wait for a queue that takes none.
    """

    expire: list[str] = field(default_factory=list)
    prune: list[str] = field(default_factory=list)
    keep: dict[float, list[str]] = field(default_factory=dict)
    deliver: list[str] = field(default_factory=list)
    hold: list[str] = field(default_factory=list)
    recall: list[tuple[str, float]] = field(default_factory=list)
    give_up: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    put_off: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, jobs: Iterable[DueJob], retention: Retention, refusing: Set[str] = frozenset()) -> "Plan":
        """Decide about jobs that are due; `refusing` are queues that take no messages."""
        plan = cls()
        for job in jobs:
            if job.state.final:
                plan._add_final(job, retention[job.state])
            else:
                plan._add(job, refusing)
        return plan

    @property
    def size(self) -> int:
        """How many jobs it is about."""
        kept = sum(map(len, self.keep.values()))
        final = len(self.prune) + kept + len(self.hold)
        return final + len(self.expire) + len(self.recall) + len(self.give_up) + len(self.messages) + len(self.put_off)

    @property
    def urgent(self) -> bool:
        """True when it leaves jobs behind that are due."""
        return any(seconds == 0 for _, seconds in self.recall)

    def statements(self) -> list[UpdateBase]:
        """What the database is to do."""
        steps: list[UpdateBase] = []
        if self.expire:
            steps.append(protocol.expire(self.expire))
        if self.prune:
            steps += protocol.prune(self.prune)
        if self.deliver:
            steps.append(protocol.deliver(self.deliver))
        steps += [protocol.keep(job_ids, seconds) for seconds, job_ids in self.keep.items()]
        if self.hold:
            steps.append(protocol.postpone(self.hold, ENDED))
        if self.messages:
            steps.append(protocol.wait([message.job_id for message in self.messages], UNCONFIRMED))
        if self.put_off:
            steps.append(protocol.wait(self.put_off, _PUT_OFF))
        steps += [protocol.recall(job_id, seconds) for job_id, seconds in self.recall]
        steps += [protocol.give_up(job_id, WORKER_LOST) for job_id in self.give_up]
        return steps

    def _add(self, job: DueJob, refusing: Set[str]) -> None:
        if job.state == State.RUNNING:
            # The lease is over.
            lost = job.attempt - job.failures - job.forgiven
            if lost > MAX_LOST:
                self.give_up.append(job.id)
            else:
                self.recall.append((job.id, _pause(lost)))
        elif job.expired:
            self.expire.append(job.id)
        elif job.queue in refusing:
            self.put_off.append(job.id)
        else:
            self.messages.append(Message(job.id, job.attempt + 1, job.queue, job.traceparent))

    def _add_final(self, job: DueJob, kept: float) -> None:
        over = job.age is None or job.age >= kept
        if job.webhook and job.delivery is None:
            self.deliver.append(job.id)
            over = False
        if not over:
            self.keep.setdefault(kept, []).append(job.id)
        elif job.delivery is Delivery.PENDING:
            self.hold.append(job.id)
        else:
            self.prune.append(job.id)


def _pause(lost: int) -> float:
    """Seconds until another worker may have a job that has lost so many. One may be an accident."""
    return 0.0 if lost <= 1 else backoff(lost - 1, _FIRST_PAUSE, _LONGEST_PAUSE)


def due_job(row: Any) -> DueJob:
    """Of a row of protocol.due()."""
    delivery = None if row.delivery is None else Delivery(row.delivery)
    return DueJob(
        row.id, row.queue, State(row.state), row.attempt, row.failures, row.forgiven, bool(row.expired),
        bool(row.webhook), delivery, None if row.age is None else row.age / 1e6, row.traceparent,
    )  # fmt: skip
