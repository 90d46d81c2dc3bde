"""One attempt of a job: run, and ended once."""

import logging
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from pymysql.err import MySQLError
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from nowait.errors import ResultTooLarge
from nowait.jobs import protocol
from nowait.jobs.table import State
from tasks.database import transaction
from tasks.driver import until
from tasks.jobs import steps
from tasks.jobs.failures import NoResult, UnknownJob, failure_of
from tasks.jobs.heartbeat import Heartbeat
from tasks.jobs.job import Job
from tasks.jobs.lease import JobEnded, Lease, LeaseLost, TimeLimitExceeded
from tasks.jobs.registry import TIME_LIMIT, Definition
from tasks.jobs.results import encode
from tasks.jobs.steps import Claim
from tasks.jobs.transaction import kept, limit
from tasks.statements import AWAY, LOST, REPEATED, error_number

log = logging.getLogger(__name__)

_TRIES = 5  # of a transaction that others stand in the way of
_CHANGED = 1020  # the database's error: with innodb_snapshot_isolation, and an isolation level that is not ours
# The database's errors of a value that a column of JSON does not take: MariaDB's, MySQL's. Behind these alone, the
# transaction is certain to be as it was.
_REFUSED = {4025, 3140}
_GRACE = 5.0  # seconds behind the time limit, at which the connection is ended, that its end is awaited
_PAUSE = 0.1  # seconds before another try, with jitter


class _CommitLost(Exception):
    """The connection was lost with the COMMIT under way."""


class Attempt:
    """An attempt that this worker has claimed.

    Args:
        steps_engine: of `tasks.jobs.steps`.
        jobs_engine: of `tasks.jobs.transaction`, for the job's own transaction.
        claim: what was claimed.
        definition: what is to be run; None when there is no such job here.
    """

    def __init__(self, steps_engine: Engine, jobs_engine: Engine, claim: Claim, definition: Definition | None) -> None:
        self._steps_engine = steps_engine
        self._jobs_engine = jobs_engine
        self._claim = claim
        self._definition = definition
        self._lease = Lease(claim.sent, definition.time_limit if definition else TIME_LIMIT)
        self._result: str | None = None  # of a function that has left the database alone, and need not run again
        self._connecting = False

    def __repr__(self) -> str:
        return f"<Attempt {self._claim.attempt} of {self._claim.name} {self._claim.id}>"

    def run(self) -> State | None:
        """Run the job, and end the attempt.

        Returns the state in which the job is now: SUCCEEDED; FAILED; QUEUED when it will be tried again; None when it
        is not this worker's any more, or the database could not be reached: the end of the lease decides then.
        """
        try:
            # Not an attribute: as it calls the attempt, both would wait for the garbage collector.
            heartbeat = Heartbeat(self._steps_engine, self._claim.id, self._claim.attempt, self._lease, self._overdue)
            with heartbeat, until(self._lease.ends + _GRACE):
                self._succeed(heartbeat)
            return State.SUCCEEDED
        except LeaseLost as error:
            log.info("%r: %s", self, error)
            return None
        except _CommitLost:
            return self._look()
        except Exception as error:
            return self._fail(error)

    def _succeed(self, heartbeat: Heartbeat) -> None:
        """Run the job and end the attempt in one transaction, again where others stood in the way.

        Raises JobEnded when the attempt is over, _CommitLost, and what the function does.
        """
        if self._definition is None:
            raise UnknownJob(self._claim.name)
        tries, lost = _TRIES, False
        while True:
            try:
                self._try(self._definition, heartbeat)
                return
            except (JobEnded, _CommitLost):
                raise
            except Exception as error:
                # What comes of the end of the attempt is not the function's failure.
                self._lease.check(time.monotonic())
                number = _number(error)
                if self._connecting:
                    again = number in AWAY  # until the lease ends
                elif number in LOST:
                    again, lost = not lost, True
                else:
                    tries -= 1
                    again = tries > 0 and number in REPEATED | {_CHANGED}
                if not again:
                    raise
                log.info("%r is tried again: error %s of the database", self, number)
            time.sleep(_PAUSE * random.uniform(0.5, 1.5))

    def _try(self, definition: Definition, heartbeat: Heartbeat) -> None:
        with ExitStack() as transactions:
            with ExitStack() as guards:
                begin = partial(self._begin, heartbeat, transactions, guards)
                job = Job(self._claim.id, self._claim.attempt, self._lease, begin)
                result = self._run(definition, job) if self._result is None else self._result
            if job.begun is None:
                self._result = result
            self._finish(job.begun or self._connect(transactions), result)

    def _begin(self, heartbeat: Heartbeat, transactions: ExitStack, guards: ExitStack) -> Connection:
        """Begin the job's transaction, which is guarded until the function has returned."""
        connection = self._connect(transactions)
        guards.enter_context(heartbeat.ending(connection))
        guards.enter_context(kept(connection))
        return connection

    def _connect(self, transactions: ExitStack) -> Connection:
        self._connecting = True
        connection = transactions.enter_context(transaction(self._jobs_engine))
        self._connecting = False
        # For a worker that is gone by then: the end of the attempt comes first.
        limit(connection, max(0.0, self._lease.ends - time.monotonic()) + _GRACE)
        return connection

    def _run(self, definition: Definition, job: Job) -> str:
        """Run the function; returns its result."""
        value = definition.run(job, self._claim.parameters)
        try:
            return encode(value)
        except ResultTooLarge:
            raise
        except (TypeError, ValueError, RecursionError) as error:
            raise NoResult(f"no form in JSON: {error}") from error

    def _finish(self, connection: Connection, result: str) -> None:
        step = protocol.succeed(self._claim.id, self._claim.attempt, result)
        if not self._end(lambda step: connection.execute(*step).rowcount == 1, step):
            raise LeaseLost("the job is cancelled, or not this worker's any more")
        try:
            connection.commit()
        except DBAPIError as error:
            if error_number(error) in LOST:
                raise _CommitLost from error
            raise

    def _look(self) -> State | None:
        """What has become of a COMMIT whose answer was lost."""
        try:
            succeeded = steps.has_succeeded(self._steps_engine, self._claim.id, self._claim.attempt)
        except steps.DatabaseAway as error:
            log.warning("%r: it is not known whether it was committed: %s", self, error)
            return None
        log.warning("%r: the connection was lost, and it was %s", self, "committed" if succeeded else "not committed")
        return State.SUCCEEDED if succeeded else None

    def _fail(self, error: Exception) -> State | None:
        failure = failure_of(error)
        delay = self._claim.retry.delay(self._claim.failures + 1) if failure.retried else None
        if delay is None:
            step = protocol.fail(self._claim.id, self._claim.attempt, failure.document())
        else:
            step = protocol.retry(self._claim.id, self._claim.attempt, delay, failure.kind)
        again = "" if delay is None else f", again in {delay:.1f} s"
        log.error("%r has failed (%s)%s", self, failure.kind, again, exc_info=error)
        try:
            ended = self._end(partial(steps.end, self._steps_engine), step)
        except steps.DatabaseAway as away:
            log.warning("%r: its failure could not be written: %s", self, away)
            return None
        if not ended:
            return None
        return State.FAILED if delay is None else State.QUEUED

    def _overdue(self) -> None:
        """The function goes on, although its time is over: the job does not wait for it."""
        self._fail(TimeLimitExceeded("the time of the attempt is over, and the function has not returned"))

    def _end(self, write: Callable[[protocol.Step], bool], step: protocol.Step) -> bool:
        """Write the last step, with progress that the heartbeat has not written yet, if the database takes that."""
        unreported = self._lease.unreported
        if unreported is not None:
            statement, values = step
            try:
                return write((statement.values(progress=unreported[0]), values))
            except (DBAPIError, MySQLError) as error:
                if error_number(error) not in _REFUSED:
                    raise
            log.warning("%r: its last progress is dropped, which the database refuses", self)
            self._lease.drop(unreported)
        return write(step)


def _number(error: Exception) -> Any:
    """The number of a database's error; None for any other."""
    return error_number(error) if isinstance(error, (DBAPIError, MySQLError)) else None
