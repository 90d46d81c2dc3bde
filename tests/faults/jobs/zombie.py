"""An attempt whose worker does not find out that it has lost its job."""

import time
from typing import Any

from sqlalchemy import Engine, select

from nowait.jobs import protocol
from nowait.jobs.table import State, jobs
from tasks.database import transaction
from tasks.jobs import steps
from tasks.jobs.attempt import Attempt
from tasks.jobs.heartbeat import Heartbeat
from tasks.jobs.lease import Lease
from tasks.jobs.registry import TIME_LIMIT, Definition
from tasks.jobs.steps import Claim

_PATIENCE = 60.0  # seconds until it has lost its job


class Zombie(Attempt):
    """Writes no heartbeats, and ends once the job is not its own any more, as if it still were.

    Before that it writes a heartbeat and its progress, too.
    """

    def __init__(self, steps_engine: Engine, jobs_engine: Engine, claim: Claim, definition: Definition | None) -> None:
        super().__init__(steps_engine, jobs_engine, claim, definition)
        self._lease = _Endless(claim.sent, TIME_LIMIT)
        self._heartbeat = _Silent(steps_engine, claim.id, claim.attempt, self._lease, self._overdue)

    def lost(self) -> bool:
        """Is the job another attempt's, or over?"""
        found = select(jobs.c.state, jobs.c.attempt).where(jobs.c.id == self._claim.id)
        with transaction(self._steps_engine) as connection:
            row = connection.execute(found).one()
        return (row.state, row.attempt) != (State.RUNNING.value, self._claim.attempt)

    def haunt(self) -> None:
        """Once the job is lost, go on as before."""
        deadline = time.monotonic() + _PATIENCE
        while not self.lost():
            assert time.monotonic() < deadline, "it has not lost its job"
            time.sleep(0.05)
        job_id, attempt = self._claim.id, self._claim.attempt
        steps.end(self._steps_engine, protocol.heartbeat(job_id, attempt))
        steps.end(self._steps_engine, protocol.report(job_id, attempt, {"begun": attempt}))

    def _finish(self, connection: Any, result: str) -> None:
        self.haunt()
        super()._finish(connection, result)

    def _fail(self, error: Exception) -> State | None:
        self.haunt()
        return super()._fail(error)


class _Endless(Lease):
    def check(self, now: float) -> None:
        """It is always held."""


class _Silent(Heartbeat):
    def _run(self) -> None:
        """Nothing is written."""
