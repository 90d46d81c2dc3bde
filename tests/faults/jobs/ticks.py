"""What a database notes of its schedules, and whether their ticks got the jobs that they had to get."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pymysql
from pymysql.cursors import DictCursor

from nowait.database_url import DatabaseUrl
from nowait.jobs.table import INIT_COMMAND

_NOTE = """\
INSERT INTO editions (name, cron, every, enabled, overlap, catch_up, parameters, changed, at)
SELECT NEW.name, NEW.cron, NEW.every, NEW.enabled, NEW.overlap, NEW.catch_up, NEW.parameters, NEW.changed,
    UTC_TIMESTAMP(6) FROM DUAL"""
_SQL = (
    """CREATE TABLE IF NOT EXISTS editions (
        number BIGINT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(100) NOT NULL, cron VARCHAR(255) NULL,
        every DOUBLE NULL, enabled BOOLEAN NOT NULL, overlap VARCHAR(10) NOT NULL, catch_up VARCHAR(10) NOT NULL,
        parameters JSON NOT NULL, changed DATETIME(6) NOT NULL, at DATETIME(6) NOT NULL
    ) ENGINE=InnoDB""",
    "DROP TRIGGER IF EXISTS schedules_inserted",
    "DROP TRIGGER IF EXISTS schedules_updated",
    f"CREATE TRIGGER schedules_inserted AFTER INSERT ON schedules FOR EACH ROW {_NOTE}",
    f"CREATE TRIGGER schedules_updated AFTER UPDATE ON schedules FOR EACH ROW {_NOTE} WHERE NEW.version <> OLD.version",
)
# Whoever edits reads the time, and then waits for his statement: on either side of an edit, a tick may be of it or not.
_EDIT = timedelta(seconds=1)
_IN_TIME = timedelta(seconds=2)
_MISSED = timedelta(seconds=5)


@dataclass(frozen=True)
class Edition:
    """A schedule as it is from a moment on, until its next edition.

    Attributes:
        cron: `* * * * *`, or None.
        every: seconds, or None.
        changed: from which `every` is counted.
        at: from which on it is in force, about.
    """

    name: str
    cron: str | None
    every: float | None
    enabled: bool
    overlap: str
    catch_up: str
    parameters: Any
    changed: datetime
    at: datetime

    def ticks(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Those between two moments."""
        if not self.enabled:
            return
        assert self.cron in (None, "* * * * *")
        every = timedelta(seconds=self.every or 60)
        tick = self.changed.replace(second=0, microsecond=0) if self.cron else self.changed
        while (tick := tick + every) <= end:
            if start < tick:
                yield tick


@dataclass(frozen=True)
class Made:
    """A job of a tick; `created` is when, and `finished` None for one that has not ended."""

    schedule: str
    tick: datetime
    parameters: Any
    created: datetime
    finished: datetime | None


@dataclass(frozen=True)
class Outage:
    """The database was away."""

    start: datetime
    end: datetime

    def affects(self, tick: datetime) -> bool:
        """Could the tick not be dealt with in time because of it?"""
        return self.start - _IN_TIME <= tick <= self.end


class TickJournal:
    """The notes in a database.

    Args:
        url: of the database, which has the tables of jobs.
    """

    def __init__(self, url: str) -> None:
        self._options = {**DatabaseUrl.parse(url).options(), "init_command": INIT_COMMAND, "autocommit": True}

    def open(self) -> None:
        """Begin to note."""
        with self._cursor() as cursor:
            for statement in _SQL:
                cursor.execute(statement)

    def now(self) -> datetime:
        """The database's clock."""
        with self._cursor() as cursor:
            cursor.execute("SELECT UTC_TIMESTAMP(6) AS now")
            now: datetime = cursor.fetchone()["now"]
            return now

    def read(self) -> tuple[list[Edition], list[Made]]:
        """All that is there."""
        with self._cursor() as cursor:
            cursor.execute(f"SELECT {_names(Edition)} FROM editions ORDER BY number")
            editions = [Edition(**{**_read(row), "enabled": bool(row["enabled"])}) for row in cursor.fetchall()]
            cursor.execute(f"SELECT {_names(Made)} FROM jobs WHERE tick IS NOT NULL")
            return editions, [Made(**_read(row)) for row in cursor.fetchall()]

    def end_jobs(self, schedule: str) -> None:
        """As if a worker had ended the jobs of a schedule."""
        with self._cursor() as cursor:
            cursor.execute(
                "UPDATE jobs SET state = 'succeeded', finished = UTC_TIMESTAMP(6)"
                " WHERE schedule = %s AND state = 'queued'",
                [schedule],
            )

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        with pymysql.connect(**self._options, cursorclass=DictCursor) as connection, connection.cursor() as cursor:
            yield cursor


def _names(kind: type[Edition] | type[Made]) -> str:
    return ", ".join(field.name for field in fields(kind))


def _read(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "parameters": json.loads(row["parameters"])}


def lateness(made: Made, outages: Sequence[Outage]) -> timedelta:
    """How late a job was, from when it could be made."""
    return made.created - max([made.tick, *(outage.end for outage in outages if outage.affects(made.tick))])


def broken(
    editions: Sequence[Edition], made: Sequence[Made], outages: Sequence[Outage], end: datetime, in_time: timedelta
) -> list[str]:
    """What is not as it is promised, in words.

    Args:
        editions: in their order.
        made: the jobs, up to a moment that is not before `end`.
        outages: of the database.
        end: up to which ticks are looked at.
        in_time: that a tick has.
    """
    found = []
    for (name, tick), count in Counter((each.schedule, each.tick) for each in made).items():
        if count > 1:
            found.append(f"{name}: {count} jobs of the tick {tick}")
    needed, allowed = _expected(editions, end)
    there: dict[str, set[datetime]] = defaultdict(set)
    for each in made:
        there[each.schedule].add(each.tick)
        if each.tick not in allowed[each.schedule]:
            found.append(f"{each.schedule}: {each.tick} is no tick")
        if each.created < each.tick:
            found.append(f"{each.schedule}: a job before its tick {each.tick}")
        if lateness(each, outages) > in_time:
            found.append(f"{each.schedule}: the tick {each.tick} was {lateness(each, outages)} late")
    found += [*_of_other_editions(editions, made), *_overlapping(editions, made)]
    last = {edition.name: edition for edition in editions}
    times = Counter(edition.name for edition in editions)
    for name, ticks in needed.items():
        missing = ticks - there[name]
        found += [
            f"{name}: no job of the tick {tick}"
            for tick in sorted(missing)
            if not any(outage.affects(tick) for outage in outages)
        ]
        for outage in outages:
            affected = {tick for tick in ticks if outage.affects(tick)}
            # Of one that is edited meanwhile, it may be a pause that has come before it.
            steady = times[name] == 1 and last[name].catch_up == "latest"
            if steady and affected and not affected & there[name]:
                found.append(f"{name}: no job of any tick that was missed before {outage.end}")
    for each in made:
        if last[each.schedule].catch_up == "none" and each.created - each.tick > _MISSED:
            found.append(f"{each.schedule}: a job of the tick {each.tick}, which was missed")
    return found


def _of_other_editions(editions: Sequence[Edition], made: Sequence[Made]) -> Iterator[str]:
    """Jobs whose parameters were not those of their schedules."""
    for each in made:
        # Both have noted their moments while they had the schedule locked.
        before = [edition for edition in editions if edition.name == each.schedule and edition.at <= each.created]
        if before and each.parameters != before[-1].parameters:
            yield f"{each.schedule}: the job of the tick {each.tick} has {each.parameters}, not {before[-1].parameters}"


def _overlapping(editions: Sequence[Edition], made: Sequence[Made]) -> Iterator[str]:
    """Jobs that were made while the one before had not ended, although that was to be awaited."""
    for name in {edition.name for edition in editions if edition.overlap == "skip"}:
        ordered = sorted((each for each in made if each.schedule == name), key=lambda each: each.tick)
        for one, other in pairwise(ordered):
            if one.finished is None or other.created < one.finished:
                yield f"{name}: a job of the tick {other.tick}, while that of {one.tick} had not ended"


def _expected(
    editions: Sequence[Edition], end: datetime
) -> tuple[dict[str, set[datetime]], dict[str, set[datetime]]]:
    """The ticks that need a job, and those that may have one, of each schedule."""
    needed: dict[str, set[datetime]] = defaultdict(set)
    allowed: dict[str, set[datetime]] = defaultdict(set)
    of_name: dict[str, list[Edition | None]] = defaultdict(list)
    for edition in editions:
        of_name[edition.name].append(edition)
    for name, found in of_name.items():
        for edition, following in pairwise([*found, None]):
            assert edition is not None
            until = end if following is None else following.at
            longer = 60 * _EDIT if following is None else _EDIT
            allowed[name] |= set(edition.ticks(edition.at - _EDIT, until + longer))
            # A pause is good at once.
            margin = _IN_TIME if following is not None and not following.enabled else _EDIT
            if edition.overlap == "skip":
                continue
            needed[name] |= set(edition.ticks(edition.at + _EDIT, until - margin))
    return needed, allowed
