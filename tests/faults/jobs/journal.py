"""What a database notes of its jobs, besides the table of jobs: their effects, and each change of their states."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pymysql
from pymysql.cursors import DictCursor

from nowait.database_url import DatabaseUrl
from nowait.jobs.ids import new_id
from nowait.jobs.retry import Retry
from nowait.jobs.table import INIT_COMMAND

_SQL = (
    "CREATE TABLE IF NOT EXISTS effects (job CHAR(36) NOT NULL, attempt INT NOT NULL, INDEX (job)) ENGINE=InnoDB",
    """CREATE TABLE IF NOT EXISTS changes (
        number BIGINT PRIMARY KEY AUTO_INCREMENT, job CHAR(36) NOT NULL, old VARCHAR(10) NULL, new VARCHAR(10) NULL,
        attempt INT NOT NULL, at DATETIME(6) NOT NULL, eta DATETIME(6) NULL, expires DATETIME(6) NULL,
        failed BOOLEAN NOT NULL DEFAULT FALSE, INDEX (job)
    ) ENGINE=InnoDB""",
    """CREATE TABLE IF NOT EXISTS outcomes (
        number BIGINT PRIMARY KEY AUTO_INCREMENT, job CHAR(36) NOT NULL, state VARCHAR(10) NOT NULL,
        attempt INT NOT NULL, at DATETIME(6) NOT NULL, outcome VARCHAR(100) NULL, INDEX (job)
    ) ENGINE=InnoDB""",
    "DROP TRIGGER IF EXISTS deliveries_updated",
    """CREATE TRIGGER deliveries_updated AFTER UPDATE ON deliveries FOR EACH ROW
        INSERT INTO outcomes (job, state, attempt, at, outcome)
        SELECT NEW.job_id, NEW.state, NEW.attempt, UTC_TIMESTAMP(6), NEW.outcome FROM DUAL
        WHERE NEW.attempt = OLD.attempt AND NOT (NEW.outcome <=> OLD.outcome AND NEW.state = OLD.state)""",
    "DROP TRIGGER IF EXISTS jobs_inserted",
    "DROP TRIGGER IF EXISTS jobs_updated",
    "DROP TRIGGER IF EXISTS jobs_deleted",
    """CREATE TRIGGER jobs_inserted AFTER INSERT ON jobs FOR EACH ROW
        INSERT INTO changes (job, new, attempt, at) VALUES (NEW.id, NEW.state, NEW.attempt, UTC_TIMESTAMP(6))""",
    """CREATE TRIGGER jobs_updated AFTER UPDATE ON jobs FOR EACH ROW
        INSERT INTO changes (job, old, new, attempt, at, eta, expires, failed)
        SELECT NEW.id, OLD.state, NEW.state, NEW.attempt, UTC_TIMESTAMP(6), OLD.eta, OLD.expires,
            NEW.failures > OLD.failures FROM DUAL
        WHERE OLD.state <> NEW.state OR OLD.attempt <> NEW.attempt""",
    """CREATE TRIGGER jobs_deleted AFTER DELETE ON jobs FOR EACH ROW
        INSERT INTO changes (job, old, attempt, at) VALUES (OLD.id, OLD.state, OLD.attempt, UTC_TIMESTAMP(6))""",
)


@dataclass(frozen=True)
class Change:
    """One change of a job's state or attempt.

    Attributes:
        old, new: the states; None before it was there, and once it is not any more.
        attempt: behind the change.
        at: when, by the database's clock.
        eta, expires: of the job before the change.
        failed: it was the failure of an attempt.
    """

    job: str
    old: str | None
    new: str | None
    attempt: int
    at: datetime
    eta: datetime | None = None
    expires: datetime | None = None
    failed: bool = False


@dataclass(frozen=True)
class Row:
    """What counts of a row of the table of jobs.

    Attributes:
        late: seconds since it was due, negative for later.
        progress: as the function has reported it, and it was written; None for none.
        failing: the part of the job's attempts that raise.
    """

    id: str
    state: str
    attempt: int
    failures: int
    result: str | None
    late: float
    progress: Any = None
    failing: float = 0.0


@dataclass(frozen=True)
class Books:
    """All of it, as it is at one moment.

    Attributes:
        rows: of the jobs, by id.
        effects: attempts that each job's effects are of, by id.
        changes: in their order, by the job's id.
    """

    rows: dict[str, Row]
    effects: dict[str, list[int]]
    changes: dict[str, list[Change]]


@dataclass(frozen=True)
class Noted:
    """What was noted of an attempt to deliver the end of a job, unless it was as the one before.

    Attributes:
        state: of the delivery from then on.
        seconds: since the end of the job.
    """

    job: str
    state: str
    attempt: int
    outcome: str | None
    seconds: float


class Journal:
    """The notes in a database.

    Args:
        url: of the database, which has the table of jobs.
    """

    def __init__(self, url: str) -> None:
        self._options = {**DatabaseUrl.parse(url).options(), "init_command": INIT_COMMAND, "autocommit": True}

    def open(self) -> None:
        """Begin to note."""
        with self._cursor() as cursor:
            for statement in _SQL:
                cursor.execute(statement)

    def unfinished(self) -> int:
        """How many jobs have not ended."""
        with self._cursor() as cursor:
            cursor.execute("SELECT COUNT(*) AS n FROM jobs WHERE state IN ('queued', 'running')")
            return int(cursor.fetchone()["n"])

    def now(self) -> datetime:
        """The database's clock."""
        with self._cursor() as cursor:
            cursor.execute("SELECT UTC_TIMESTAMP(6) AS now")
            now: datetime = cursor.fetchone()["now"]
            return now

    def overdue(self, moment: datetime) -> int:
        """How many jobs have not ended, and were due at that moment, and nobody has looked at them since."""
        with self._cursor() as cursor:
            unfinished = "SELECT COUNT(*) AS n FROM jobs WHERE state IN ('queued', 'running') AND due <= %s"
            cursor.execute(unfinished, [moment])
            return int(cursor.fetchone()["n"])

    def deadlocks(self) -> int | None:
        """How many the database has found since it was started; None where it does not count them, as MySQL."""
        with self._cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
            found = cursor.fetchone()
            return None if found is None else int(found["Value"])

    def read(self) -> Books:
        """All that is there."""
        with self._cursor() as cursor:
            cursor.execute(
                "SELECT id, state, attempt, failures, result, TIMESTAMPDIFF(MICROSECOND, due, UTC_TIMESTAMP(6)) / 1e6"
                " AS late, progress, parameters FROM jobs"
            )
            rows = {row["id"]: _row(row) for row in cursor.fetchall()}
            cursor.execute("SELECT job, attempt FROM effects")
            effects: dict[str, list[int]] = {}
            for effect in cursor.fetchall():
                effects.setdefault(effect["job"], []).append(effect["attempt"])
            cursor.execute("SELECT job, old, new, attempt, at, eta, expires, failed FROM changes ORDER BY number")
            changes: dict[str, list[Change]] = {}
            for change in cursor.fetchall():
                changes.setdefault(change["job"], []).append(Change(**change))
        return Books(rows, effects, changes)

    def outcomes(self) -> list[Noted]:
        """All that was noted of deliveries, in its order."""
        with self._cursor() as cursor:
            cursor.execute(
                "SELECT job, outcomes.state, outcomes.attempt, outcome,"
                " TIMESTAMPDIFF(MICROSECOND, finished, at) / 1e6 AS seconds"
                " FROM outcomes JOIN jobs ON jobs.id = job ORDER BY number"
            )
            return [Noted(**{**row, "seconds": float(row["seconds"])}) for row in cursor.fetchall()]

    def undelivered(self) -> int:
        """How many jobs have a webhook that is pending."""
        with self._cursor() as cursor:
            cursor.execute(
                "SELECT COUNT(*) AS n FROM jobs LEFT JOIN deliveries ON job_id = id"
                " WHERE webhook IS NOT NULL AND COALESCE(deliveries.state, 'pending') = 'pending'"
            )
            return int(cursor.fetchone()["n"])

    def end(self, webhooks: list[str]) -> list[str]:
        """Add jobs that end now, each with a webhook; returns their ids."""
        ids = [new_id() for _ in webhooks]
        with self._cursor() as cursor:
            cursor.executemany(
                "INSERT INTO jobs (id, name, queue, parameters, retry, state, due, created, finished, webhook) VALUES"
                " (%s, 'test.effect', 'queries.jobs', '{}', %s, 'cancelled', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6),"
                " UTC_TIMESTAMP(6), %s)",
                [(job_id, json.dumps(Retry().document()), url) for job_id, url in zip(ids, webhooks)],
            )
        return ids

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        with pymysql.connect(**self._options, cursorclass=DictCursor) as connection, connection.cursor() as cursor:
            yield cursor


def _row(row: dict[str, Any]) -> Row:
    parameters = json.loads(row.pop("parameters"))
    progress = None if row["progress"] is None else json.loads(row["progress"])
    values = {"late": float(row["late"]), "progress": progress, "failing": parameters.get("failing", 0.0)}
    return Row(**{**row, **values})
