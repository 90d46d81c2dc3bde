"""Jobs in a real table, as servers put them there, and as workers run them."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, Executable, Row, insert, select, text

from nowait.jobs import protocol
from nowait.jobs.protocol import NOW, later
from nowait.jobs.retry import Retry
from nowait.jobs.table import State, jobs
from tasks.database import transaction
from tasks.jobs import steps
from tasks.jobs.attempt import Attempt
from tasks.jobs.job import Job
from tasks.jobs.registry import Definition, Registry
from tasks.jobs.transaction import make_jobs_engine


class Table:
    """The table of jobs, a table `effects` for what they do, and both engines of a worker.

    Args:
        url: of the database.
    """

    def __init__(self, url: str) -> None:
        self.steps_engine = steps.make_steps_engine(url)
        self.jobs_engine = make_jobs_engine(url)

    def execute(self, statement: Executable | str, values: dict[str, Any] | None = None) -> Any:
        """Run a statement in a transaction of its own: the first column of its rows, or how many it has changed."""
        with transaction(self.steps_engine) as connection:
            result = connection.execute(text(statement) if isinstance(statement, str) else statement, values)
            return list(result.scalars()) if result.returns_rows else result.rowcount

    def add(self, name: str = "test", retry: Retry = Retry(), **values: Any) -> str:
        """A job that waits; returns its id."""
        job_id = str(uuid.uuid4())
        row = {"queue": "queries.jobs", "parameters": {}, "state": State.QUEUED.value, **values}
        self.execute(
            insert(jobs).values(id=job_id, name=name, retry=retry.document(), created=NOW, **{"due": NOW, **row})
        )
        return job_id

    def row(self, job_id: str) -> Row[Any]:
        """All that is known of a job, and `left`, the seconds until it is due."""
        left = text("TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), due) / 1000000 AS left_")
        with transaction(self.steps_engine) as connection:
            return connection.execute(select(jobs, left).where(jobs.c.id == job_id)).one()

    def effects(self, job_id: str) -> list[int]:
        """The attempts whose effects are in the database."""
        found: list[int] = self.execute(f"SELECT attempt FROM effects WHERE job = '{job_id}' ORDER BY attempt")
        return found

    def take_over(self, job_id: str) -> None:
        """What a server does behind the end of a lease, and another worker with its next message."""
        self.execute(protocol.recall(job_id, 0))
        assert self.execute(*protocol.claim(job_id, self.row(job_id).attempt + 1, "another")) == 1

    def cancel(self, job_id: str) -> None:
        """What a server does for a client."""
        assert self.execute(protocol.cancel(job_id, "")) == 1

    def attempt(self, job_id: str, number: int, definition: Definition | None) -> Attempt:
        """An attempt that is claimed."""
        claim = steps.claim(self.steps_engine, job_id, number, "this")
        assert claim is not None
        return Attempt(self.steps_engine, self.jobs_engine, claim, definition)

    def run(self, job_id: str, function: Callable[..., Any], number: int = 1, **options: Any) -> State | None:
        """Claim an attempt and run a function in it."""
        return self.attempt(job_id, number, defined(function, **options)).run()


def defined(function: Callable[..., Any], **options: Any) -> Definition:
    """A job with this function."""
    registry = Registry()
    registry.job("test", **options)(function)
    (definition,) = registry.definitions()
    return definition


def effect(job: Job) -> None:
    """Have an effect in the job's transaction."""
    job.connection.execute(text("INSERT INTO effects VALUES (:job, :attempt)"), {"job": job.id, "attempt": job.attempt})


@contextmanager
def made(engine: Engine) -> Iterator[None]:
    """A table for the effects of jobs as long as the block lasts; that of jobs is emptied behind it."""
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE effects (job CHAR(36), attempt INT)")
    try:
        yield
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE effects")
            connection.exec_driver_sql("DELETE FROM jobs")


__all__ = ["Table", "defined", "effect", "later", "made"]
