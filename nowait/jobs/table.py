"""The tables of jobs, as `nowait.jobs.migrations` makes them. No I/O.

One row of `jobs` is a job, the outbox of its messages, the lease of its worker and the timer of its retries, by one
column: `due`, the moment at which a server has to look at it again.
"""

from enum import Enum
from typing import Any

from sqlalchemy import JSON, Column, Index, MetaData, String, Table, UniqueConstraint
from sqlalchemy.dialects import mysql

MAX_NAME = 100
"""Characters of a job's name, and bytes of that of its queue: brokers count these."""


def check_names(name: str, queue: str) -> None:
    """Raise ValueError, with what is expected, unless a job may have this name and this queue."""
    for what, size in (("name", len(name)), ("queue", len(queue.encode()))):
        if not 1 <= size <= MAX_NAME:
            raise ValueError(f"{what}: 1 to {MAX_NAME} characters are expected")


class State(str, Enum):
    """Where a job is in its life; `nowait.jobs.protocol` has the ways from one to another."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """True when nothing comes behind it."""
        return self not in (State.QUEUED, State.RUNNING)


class Delivery(str, Enum):
    """What has become of a job's webhook."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Overlap(str, Enum):
    """What a schedule does at a tick while the job of the one before has not ended."""

    ALLOW = "allow"
    SKIP = "skip"


class CatchUp(str, Enum):
    """What a schedule does about ticks that were missed: the latest one gets a job, or none does."""

    LATEST = "latest"
    NONE = "none"


_ascii = {"charset": "ascii", "collation": "ascii_bin"}
_id = mysql.CHAR(36, **_ascii)
_moment = mysql.DATETIME(fsp=6)
_json = JSON(none_as_null=True)
_count = mysql.INTEGER(unsigned=True)
_url = mysql.VARCHAR(2048, **_ascii)


def _enum(kind: type[Enum]) -> mysql.ENUM:
    return mysql.ENUM(*(member.value for member in kind))


metadata = MetaData()
# Left to the database the collation is another one each time, and in most of them an owner equals one that differs in
# case.
_options: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}

jobs = Table(
    "jobs",
    metadata,
    Column("id", _id, primary_key=True),  # UUID version 7: the order of the ids is that of their creation
    Column("owner", String(100), nullable=False, server_default=""),
    Column("name", String(MAX_NAME), nullable=False),
    Column("queue", String(MAX_NAME), nullable=False),
    Column("parameters", _json, nullable=False),
    Column("retry", _json, nullable=False),  # see nowait.jobs.retry
    Column("state", _enum(State), nullable=False),
    Column("due", _moment, nullable=False),  # publish | the lease ends | deliver | delete
    Column("attempt", _count, nullable=False, server_default="0"),  # the fencing token: one more with each claim
    Column("failures", _count, nullable=False, server_default="0"),  # attempts that raised
    Column("forgiven", _count, nullable=False, server_default="0"),  # lost ones, before a client had it tried again
    Column("version", _count, nullable=False, server_default="0"),  # one more with each change that a client sees
    Column("progress", _json),
    Column("result", mysql.LONGTEXT),  # JSON
    Column("error", _json),
    Column("worker", String(255)),  # of the last attempt
    Column("created", _moment, nullable=False),
    Column("eta", _moment),  # not begun before, the first time or again
    Column("expires", _moment),
    Column("started", _moment),
    Column("finished", _moment),
    Column("idempotency_key", mysql.VARCHAR(255, **_ascii)),
    Column("fingerprint", mysql.BINARY(32)),
    Column("schedule", String(100)),
    Column("tick", _moment),  # of the schedule; NULL for a job that it has made out of turn
    Column("webhook", _url),  # gets the end of the job; what has become of that is in `deliveries`
    Column("reopened", _count, nullable=False, server_default="0"),  # how often a client had it tried again at its end
    Column("traceparent", mysql.VARCHAR(55, **_ascii)),  # of the request that has made it; NULL for none
    Column("history", _json),  # the attempts that have ended without success, see nowait.jobs.protocol
    UniqueConstraint("owner", "idempotency_key", name="idempotency"),
    UniqueConstraint("owner", "schedule", "tick", name="tick"),
    Index("schedule", "owner", "schedule"),  # and so by their ids
    Index("due", "due"),
    Index("state", "state", "id"),
    **_options,
)
"""All moments are UTC, by the database's clock. `attempt` - `failures` - `forgiven` are the attempts whose worker was
lost, and the one that runs."""

schedules = Table(
    "schedules",
    metadata,
    Column("owner", String(100), primary_key=True, server_default=""),
    Column("name", String(100), primary_key=True),
    Column("job", String(MAX_NAME), nullable=False),
    Column("queue", String(MAX_NAME), nullable=False),
    Column("parameters", _json, nullable=False),
    Column("retry", _json, nullable=False),
    Column("webhook", _url),
    Column("cron", String(255)),  # this or `every`
    Column("every", mysql.DOUBLE(asdecimal=False)),  # seconds
    Column("timezone", String(64), nullable=False, server_default="UTC"),  # of `cron`
    Column("enabled", mysql.BOOLEAN, nullable=False),
    Column("overlap", _enum(Overlap), nullable=False),
    Column("catch_up", _enum(CatchUp), nullable=False),
    Column("due", _moment),  # the next tick; NULL for none, as of a schedule that is paused
    Column("last_tick", _moment),  # that was dealt with
    Column("last_job", _id),  # that it has made
    Column("version", _count, nullable=False, server_default="0"),  # one more with each edit
    Column("created", _moment, nullable=False),
    Column("changed", _moment, nullable=False),  # from which the ticks of `every` are counted
    Index("due", "due"),
    **_options,
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("job_id", _id, primary_key=True),
    Column("state", _enum(Delivery), nullable=False),
    Column("due", _moment),  # the next attempt; NULL for none
    Column("attempt", _count, nullable=False, server_default="0"),  # that was begun last; the fencing token
    Column("attempted", _moment),  # when that was, another moment for each end of the job; NULL fences it at once
    Column("failures", _count, nullable=False, server_default="0"),  # attempts that were noted as no success
    Column("outcome", String(100)),  # of the last one that has ended
    Index("due", "due"),
    **_options,
)

# For every connection that touches the table. Under REPEATABLE READ a server that holds due rows blocks those who add
# jobs, and MariaDB from 11.6 fails a transaction that outlives a heartbeat (error 1020, innodb_snapshot_isolation).
ISOLATION_LEVEL = "READ COMMITTED"
# A row is locked for milliseconds: who waits for longer meets a transaction that hangs.
INIT_COMMAND = "SET time_zone = '+00:00', innodb_lock_wait_timeout = 2"
