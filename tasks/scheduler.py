"""The scheduler of `celery -A tasks beat`: makes jobs of the ticks of the schedules in the database.

Any number of them may run. Each pass is one transaction, which locks the schedules whose ticks have come, inserts
their jobs and moves on: of a scheduler that is lost in it nothing is left. The servers send the messages; a scheduler
has no connection to the broker.
"""

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from celery.beat import Scheduler
from pymysql.err import MySQLError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from nowait.jobs.table import INIT_COMMAND
from nowait.schedules import protocol
from nowait.schedules.decisions import Plan, due_schedule, last_jobs
from nowait.schedules.protocol import Edition
from tasks.app import settings
from tasks.database import make_transactional_engine, transaction
from tasks.driver import until
from tasks.jobs.schema import shortcoming
from tasks.statements import REPEATED, error_number

log = logging.getLogger(__name__)

_BATCH = 200  # schedules of one pass, at most
_TIMEOUT = 5.0  # seconds that the database gets for one
_SHORTEST, _LONGEST = 0.25, 1.0  # seconds between two; what is edited is due in the next
_AFTER_DEFECT = 5.0  # the same, where another look may do no better
# Of a scheduler that is cut off in its transaction, the database hears nothing: it ends the connection, and the others
# get the schedules that it has locked.
_INIT_COMMAND = f"{INIT_COMMAND}, wait_timeout = {round(2 * _TIMEOUT)}"


@dataclass
class Counts:
    """What a scheduler has done.

    Attributes:
        last_pass: when it looked at the schedules last with success, seconds since the epoch; 0 for never.
        passes: how often it has.
        failures: looks that the database, or a defect, has ended.
        jobs: that it has made.
    """

    last_pass: float = 0.0
    passes: int = 0
    failures: int = 0
    jobs: int = 0


class DatabaseScheduler(Scheduler):
    """What Celery's beat runs: https://docs.celeryq.dev/en/stable/reference/celery.beat.html#celery.beat.Scheduler.

    Attributes:
        counts: what it has done so far.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.counts = Counts()
        self._engine = make_transactional_engine(settings.database_url, _INIT_COMMAND)
        self._found_good = False  # the schema
        self._batch = _BATCH  # fewer behind a pass that failed: it may have been too much for its time
        self._repeated = False  # a pass, as the database had rolled it back
        self._unreadable: set[Edition] = set()  # on this host
        self._logged: str | None = None  # why no schedule is looked after

    def setup_schedule(self) -> None:
        """Nothing: beat keeps no file, and sends no task of its own."""

    def tick(self, *_: Any, **__: Any) -> float:
        """Look at what has come. Returns seconds until the next time. Never raises."""
        try:
            if not self._found_good:
                if reason := shortcoming(self._engine):
                    self.counts.failures += 1
                    self._log(reason)
                    return _LONGEST
                self._found_good = True
            with until(time.monotonic() + _TIMEOUT), transaction(self._engine) as connection:
                plan, pause = _pass(connection, self._batch, self._unreadable)
        except (DBAPIError, MySQLError) as error:
            return self._failed(error_number(error))
        except Exception:
            # Beat would end, and be missed by all schedules.
            self.counts.failures += 1
            log.exception("the schedules that are due could not be looked at")
            return _AFTER_DEFECT
        self._batch, self._repeated = min(2 * self._batch, _BATCH), False
        self.counts.last_pass = time.time()
        self.counts.passes += 1
        self.counts.jobs += sum(len(move.ticks) for move in plan.moves)
        self._log(None)
        self._unreadable.update(plan.unreadable)
        for edition, reason in plan.unreadable.items():
            log.error("schedule %s is left to other schedulers until it is edited: %s", edition.name, reason)
        return pause

    def _failed(self, number: int | None) -> float:
        """What becomes of an error of the database. Returns as tick()."""
        self.counts.failures += 1
        if number in REPEATED and not self._repeated:
            self._repeated = True
            return 0.0
        self._batch = max(1, self._batch // 2)
        # Its name may be that of another host by now, as behind a failover: it is looked up with the next connection.
        self._engine.dispose()
        self._log(f"error {number} of the database")
        return _LONGEST

    def _log(self, reason: str | None) -> None:
        if reason == self._logged:
            return
        self._logged = reason
        if reason is None:
            log.warning("schedules are looked after again")
        else:
            log.warning("no schedule is looked after: %s", reason)


def _pass(connection: Connection, batch: int, without: Collection[Edition] = ()) -> tuple[Plan, float]:
    """One transaction for up to `batch` schedules, but none of some editions; without its end.

    Returns what was decided, and the seconds until the next pass.
    """
    rows = connection.execute(*protocol.due(batch, without)).all()
    schedules = [due_schedule(row) for row in rows]
    unfinished: set[str] = set()
    if job_ids := last_jobs(schedules):
        unfinished.update(connection.execute(*protocol.unfinished(job_ids)).scalars())
    plan = Plan.of(schedules, unfinished, rows[0].now) if rows else Plan()
    if any(move.ticks for move in plan.moves):
        connection.execute(*protocol.insert(plan.moves))
    if plan.moves:
        connection.execute(*protocol.move(plan.moves))
    if len(rows) == batch:
        return plan, 0.0
    left: int | None = connection.execute(protocol.next_due()).scalar()
    return plan, _LONGEST if left is None else min(max(left / 1e6, _SHORTEST), _LONGEST)
