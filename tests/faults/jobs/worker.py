"""Celery's worker with the jobs of the fault tests: it ends itself at failpoints, and is started again."""

import sys
from typing import Any

from celery.bin.celery import main as celery
from sqlalchemy import Connection, Engine

import tasks.queries  # noqa: F401  what a worker imports, before it forks
import tasks.sample  # noqa: F401
import tests.faults.jobs.functions  # noqa: F401
from nowait.jobs import protocol
from nowait.worker.unsettled import Unsettled
from tasks.jobs import attempt, lease, steps, worker
from tasks.jobs.attempt import Attempt
from tasks.jobs.job import Job
from tasks.jobs.registry import Definition
from tasks.jobs.steps import Claim
from tests.faults.jobs import failpoints
from tests.faults.jobs.failpoints import FROZEN, ZOMBIE, Failpoints
from tests.faults.jobs.respawn import respawn
from tests.faults.jobs.short import TIMES, shorten
from tests.faults.jobs.zombie import Zombie

_DELIVERED, _CLAIMED, _BEGUN, _DONE, _COMMITTED, _REPLIED = failpoints.WORKER

points = Failpoints.of_environment()


class FailingAttempt(Attempt):
    def _finish(self, connection: Connection, result: str) -> None:
        points.hit(_DONE)
        super()._finish(connection, result)
        points.hit(_COMMITTED)


class FailingJob(Job):
    def progress(self, value: Any) -> None:
        """What the function reports behind its first effect."""
        points.hit(_BEGUN)
        points.freeze(FROZEN)
        super().progress(value)


def make_attempt(steps_engine: Engine, jobs_engine: Engine, claim: Claim, definition: Definition | None) -> Attempt:
    """An attempt that ends at a failpoint, or not in time."""
    kind = Zombie if points.bite(ZOMBIE) else FailingAttempt
    return kind(steps_engine, jobs_engine, claim, definition)


def main() -> int:
    """Run it until it ends by itself."""
    shorten(protocol, lease)
    claim, acknowledgements = steps.claim, Unsettled.acknowledgements

    def failing_claim(engine: Engine, job_id: str, number: int, name: str) -> Claim | None:
        points.hit(_DELIVERED)
        claimed = claim(engine, job_id, number, name)
        if claimed is not None:
            points.hit(_CLAIMED)
        return claimed

    def failing_acknowledgements(self: Unsettled) -> list[tuple[int, bool]]:
        tags = acknowledgements(self)
        if tags:
            points.hit(_REPLIED)
        return tags

    setattr(steps, "claim", failing_claim)
    setattr(attempt, "Job", FailingJob)
    setattr(worker, "Attempt", make_attempt)
    setattr(Unsettled, "acknowledgements", failing_acknowledgements)
    return respawn(_celery, 2 * TIMES["LEASE"])


def _celery() -> int:
    celery()  # it exits
    return 0


if __name__ == "__main__":
    sys.exit(main())
