"""A worker's steps in the table of jobs: each is a transaction of its own, within its time."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pymysql.err import MySQLError
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from nowait.jobs import protocol
from nowait.jobs.retry import Retry
from nowait.jobs.table import INIT_COMMAND
from tasks.database import make_transactional_engine, transaction
from tasks.driver import until
from tasks.statements import AWAY, LOST, REPEATED, error_number

_CLAIM_TIMEOUT = 30.0  # seconds that a claim may take while the database is away
_END_TIMEOUT = 10.0  # seconds that any other step may take; below the lease, which ends the job otherwise
_TIMEOUT = 5.0  # seconds that one try may take
_PAUSE = 0.2  # seconds before another one, with jitter

T = TypeVar("T")


class DatabaseAway(Exception):
    """The database was away for all the time of a step."""


@dataclass(frozen=True)
class Claim:
    """A job that this worker has.

    Attributes:
        id: of the job.
        attempt: the fencing token.
        name: of the job.
        parameters: as they were posted.
        retry: when it is tried again.
        failures: attempts before that have failed.
        sent: when it was claimed, by time.monotonic().
    """

    id: str
    attempt: int
    name: str
    parameters: Any
    retry: Retry
    failures: int
    sent: float


def make_steps_engine(url: str) -> Engine:
    """The engine of all connections but the jobs' own; see `tasks.database.make_transactional_engine`."""
    return make_transactional_engine(url, INIT_COMMAND)


def claim(engine: Engine, job_id: str, attempt: int, worker: str) -> Claim | None:
    """Begin an attempt; None when the job does not wait for it. Raises DatabaseAway after 30 s."""

    def begin(connection: Connection) -> Claim | None:
        sent = time.monotonic()
        if not connection.execute(*protocol.claim(job_id, attempt, worker)).rowcount:
            return None
        name, parameters, retry, failures = connection.execute(*protocol.claimed(job_id, attempt)).one()
        return Claim(job_id, attempt, name, parameters, Retry.of_document(retry), failures, sent)

    return _insist(engine, begin, _CLAIM_TIMEOUT)


def end(engine: Engine, step: protocol.Step) -> bool:
    """End, or postpone, an attempt; False when it is over already. Raises DatabaseAway after 10 s."""
    return _insist(engine, lambda connection: connection.execute(*step).rowcount == 1, _END_TIMEOUT)


def has_succeeded(engine: Engine, job_id: str, attempt: int) -> bool:
    """Has this attempt ended with a result? Raises DatabaseAway after 10 s."""
    step = protocol.succeeded(job_id, attempt)
    return _insist(engine, lambda connection: connection.execute(*step).first() is not None, _END_TIMEOUT)


def _insist(engine: Engine, step: Callable[[Connection], T], seconds: float) -> T:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with until(min(deadline, time.monotonic() + _TIMEOUT)), transaction(engine) as connection:
                return step(connection)
        except (DBAPIError, MySQLError) as error:
            number = error_number(error)
            if number not in AWAY | LOST | REPEATED:
                raise
            if time.monotonic() >= deadline:
                raise DatabaseAway(f"error {number} of the database") from error
        time.sleep(_PAUSE * random.uniform(0.5, 1.5))
