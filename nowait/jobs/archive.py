"""Moves jobs that have ended from the database to a file: one line of JSON each."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Connection, Row, Select, select
from sqlalchemy.exc import DBAPIError

from nowait.database_url import DatabaseUrl
from nowait.jobs import protocol
from nowait.jobs.connection import connected
from nowait.jobs.table import INIT_COMMAND, Delivery, State, deliveries, jobs

BATCH = 50  # jobs that are deleted at once; each may have a result of 4 MiB
_BEGINNING = b'{"id":"'  # of a line
_COLUMNS = [column for column in jobs.c if column not in (jobs.c.result, jobs.c.fingerprint)]
_DELIVERY = [column.label(f"delivery_{column.name}") for column in deliveries.c if column is not deliveries.c.job_id]


class ArchiveError(Exception):
    """Nothing more could be moved; the text is for people, in one line and without a password."""


def archive(
    database_url: str,
    file: Path,
    before: datetime,
    states: Sequence[State],
    progress: Callable[[int], None] = lambda moved: None,
) -> int:
    """Move all jobs that ended in one of some states before a moment.

    A job is deleted once its line is on the disk; without it when its webhook is pending. Whoever is killed between the
    two leaves jobs that are in the file and in the database: the next run, with the same file, deletes these without a
    second line.

    Args:
        database_url: see `nowait.database_url`.
        file: gets the lines at its end; made if it is not there.
        before: UTC without a zone.
        states: final ones.
        progress: called after each batch with the number of jobs so far.

    Returns how many were moved. Raises ArchiveError.
    """
    moved = 0
    with _connect(database_url) as connection, _append(file) as (lines, written):
        for state in states:
            last = ""
            while True:
                with connection.begin():
                    found = connection.execute(_batch(state, before, last)).all()
                    if not found:
                        break
                    for row in found:
                        if row.id not in written:
                            lines.write(_line(row))
                    lines.flush()
                    os.fsync(lines.fileno())
                    for statement in protocol.prune([row.id for row in found]):
                        connection.execute(statement)
                last = found[-1].id
                moved += len(found)
                progress(moved)
    return moved


def _batch(state: State, before: datetime, last: str) -> Select[Any]:
    """The next jobs behind an id, locked."""
    over = jobs.c.webhook.is_(None) | (deliveries.c.state != Delivery.PENDING.value)
    return (
        select(*_COLUMNS, jobs.c.result, *_DELIVERY)
        .select_from(jobs.outerjoin(deliveries, deliveries.c.job_id == jobs.c.id))
        .with_hint(jobs, "FORCE INDEX (state)")
        .where(jobs.c.state == state.value, jobs.c.id > last, jobs.c.finished < before, over)
        .order_by(jobs.c.id)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )


def _line(row: Row[Any]) -> bytes:
    """All columns by their names, moments in UTC; the result is passed on as it is."""
    values = {name: value for name, value in row._mapping.items() if name != "result"}
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), default=_moment)
    result = "null" if row.result is None else row.result.replace("\r", " ").replace("\n", " ")
    return f'{text[:-1]},"result":{result}}}\n'.encode("utf-8", "backslashreplace")


def _moment(value: Any) -> str:
    assert isinstance(value, datetime)
    return value.isoformat(timespec="microseconds") + "Z"


@contextmanager
def _append(file: Path) -> Iterator[tuple[BinaryIO, set[str]]]:
    """The file, to be written at its end by one run at a time, and the ids of the jobs in its last lines."""
    try:
        with file.open("a+b") as lines:
            try:
                fcntl.flock(lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ArchiveError(f"{file} is being written by another run") from None
            written = _tail(file, lines)
            _sync_folder(file)
            yield lines, written
    except OSError as error:
        raise ArchiveError(f"{file} cannot be written: {error.strerror}") from error


def _sync_folder(file: Path) -> None:
    """Have the name of a file, which may be a new one, on the disk."""
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _tail(file: Path, lines: BinaryIO) -> set[str]:
    """The ids in the last lines: whoever was killed may not have deleted as many. A line that has no end goes.

    Raises ArchiveError for what is no archive, which is left as it is.
    """
    lines.seek(0)
    last: list[bytes] = []
    whole, rest = 0, b""
    for line in lines:
        if not line.endswith(b"\n"):
            rest = line
            break
        whole += len(line)
        last = [*last[-BATCH + 1 :], line]
    try:
        written = {json.loads(line)["id"] for line in last}
    except (ValueError, TypeError, KeyError):
        raise ArchiveError(f"{file} is no archive of jobs") from None
    if not rest.startswith(_BEGINNING[: len(rest)]):
        raise ArchiveError(f"{file} is no archive of jobs")
    lines.truncate(whole)
    lines.seek(0, os.SEEK_END)
    return written


@contextmanager
def _connect(database_url: str) -> Iterator[Connection]:
    url = DatabaseUrl.parse(database_url)
    try:
        with connected(url, INIT_COMMAND) as connection:
            yield connection
    except DBAPIError as error:
        raise ArchiveError(f"the database {url.host}:{url.port} cannot be used: {error.orig}") from error
