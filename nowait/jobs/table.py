"""The table of jobs, as `nowait.jobs.migrations` makes it. No I/O.

One row is a job, the outbox of its messages, the lease of its worker and the timer of its retries, by one column:
`due`, the moment at which a server has to look at it again.
"""

from enum import Enum

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


_ascii = {"charset": "ascii", "collation": "ascii_bin"}
_id = mysql.CHAR(36, **_ascii)
_moment = mysql.DATETIME(fsp=6)
_json = JSON(none_as_null=True)
_count = mysql.INTEGER(unsigned=True)

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("id", _id, primary_key=True),  # UUID version 7: the order of the ids is that of their creation
    Column("owner", String(100), nullable=False, server_default=""),
    Column("name", String(MAX_NAME), nullable=False),
    Column("queue", String(MAX_NAME), nullable=False),
    Column("parameters", _json, nullable=False),
    Column("retry", _json, nullable=False),  # see nowait.jobs.retry
    Column("state", mysql.ENUM(*(state.value for state in State)), nullable=False),
    Column("due", _moment, nullable=False),  # publish | the lease ends | delete
    Column("attempt", _count, nullable=False, server_default="0"),  # the fencing token: one more with each claim
    Column("failures", _count, nullable=False, server_default="0"),  # attempts that raised
    Column("version", _count, nullable=False, server_default="0"),  # one more with each change that a client sees
    Column("progress", _json),
    Column("result", mysql.LONGTEXT),  # JSON
    Column("error", _json),
    Column("worker", String(255)),
    Column("created", _moment, nullable=False),
    Column("eta", _moment),  # not begun before, the first time or again
    Column("expires", _moment),
    Column("started", _moment),
    Column("finished", _moment),
    Column("idempotency_key", mysql.VARCHAR(255, **_ascii)),
    Column("fingerprint", mysql.BINARY(32)),
    UniqueConstraint("owner", "idempotency_key", name="idempotency"),
    Index("due", "due"),
    Index("state", "state", "id"),
    mysql_engine="InnoDB",
    mysql_charset="utf8mb4",
    # Left to the database it is another one each time, and in most of them an owner equals one that differs in case.
    mysql_collate="utf8mb4_bin",
)
"""All moments are UTC, by the database's clock. `attempt` - `failures` are the attempts whose worker was lost, and the
one that runs."""

# For every connection that touches the table. Under REPEATABLE READ a server that holds due rows blocks those who add
# jobs, and MariaDB from 11.6 fails a transaction that outlives a heartbeat (error 1020, innodb_snapshot_isolation).
ISOLATION_LEVEL = "READ COMMITTED"
# A row is locked for milliseconds: who waits for longer meets a transaction that hangs.
INIT_COMMAND = "SET time_zone = '+00:00', innodb_lock_wait_timeout = 2"
