"""What is to be done about jobs that are due. No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.sql.dml import UpdateBase

from nowait.jobs import protocol
from nowait.jobs.protocol import MAX_LOST, UNCONFIRMED
from nowait.jobs.retry import backoff
from nowait.jobs.table import State

WORKER_LOST = {
    "type": "urn:problem-type:nowait:worker-lost",
    "title": "Worker lost",
    "status": 500,
    "detail": f"More than {MAX_LOST} workers were lost while they ran the job.",
}

_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 600.0  # seconds; a job that ends its workers should not end all of them at once


@dataclass(frozen=True)
class DueJob:
    """A row of protocol.due()."""

    id: str
    queue: str
    state: State
    attempt: int
    failures: int
    expired: bool


@dataclass(frozen=True)
class Message:
    """What wakes up a worker: it may begin this attempt of the job."""

    job_id: str
    attempt: int
    queue: str


@dataclass
class Plan:
    """What is to be done: statements, in the transaction that has locked the jobs, then messages, once it is committed.

    Attributes:
        expire, prune: ids of jobs.
        recall: ids of jobs, with the seconds until their next attempt.
        give_up: ids of jobs.
        messages: for the jobs that wait.
    """

    expire: list[str] = field(default_factory=list)
    prune: list[str] = field(default_factory=list)
    recall: list[tuple[str, float]] = field(default_factory=list)
    give_up: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)

    @classmethod
    def of(cls, jobs: Iterable[DueJob]) -> "Plan":
        """Decide about jobs that are due."""
        plan = cls()
        for job in jobs:
            plan._add(job)
        return plan

    @property
    def size(self) -> int:
        """How many jobs it is about."""
        return len(self.expire) + len(self.prune) + len(self.recall) + len(self.give_up) + len(self.messages)

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
            steps.append(protocol.prune(self.prune))
        if self.messages:
            steps.append(protocol.postpone([message.job_id for message in self.messages], UNCONFIRMED))
        steps += [protocol.recall(job_id, seconds) for job_id, seconds in self.recall]
        steps += [protocol.give_up(job_id, WORKER_LOST) for job_id in self.give_up]
        return steps

    def _add(self, job: DueJob) -> None:
        if job.state.final:
            self.prune.append(job.id)
        elif job.state == State.RUNNING:
            # The lease is over.
            lost = job.attempt - job.failures
            if lost > MAX_LOST:
                self.give_up.append(job.id)
            else:
                self.recall.append((job.id, _pause(lost)))
        elif job.expired:
            self.expire.append(job.id)
        else:
            self.messages.append(Message(job.id, job.attempt + 1, job.queue))


def _pause(lost: int) -> float:
    """Seconds until another worker may have a job that has lost so many. One may be an accident."""
    return 0.0 if lost <= 1 else backoff(lost - 1, _FIRST_PAUSE, _LONGEST_PAUSE)


def due_job(row: Any) -> DueJob:
    """Of a row of protocol.due()."""
    return DueJob(row.id, row.queue, State(row.state), row.attempt, row.failures, bool(row.expired))
