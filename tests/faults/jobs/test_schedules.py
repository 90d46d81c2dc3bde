"""Schedules while schedulers and the database are killed, somebody edits, and a clock is wrong: a tick gets one job."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest
from pymysql.err import MySQLError

from deploy.local.database import Database
from deploy.local.process import Process, listens
from nowait.jobs.migrations import migrate
from nowait.jobs.retry import Retry
from nowait.jobs.table import CatchUp, Overlap
from server.jobs.connections import Connections
from server.jobs.model import StoreUnavailable
from server.schedules.database import DatabaseScheduleStore
from server.schedules.model import Definition
from tests.conftest import Start
from tests.faults.figures import Figures
from tests.faults.jobs.failpoints import BEAT, FROZEN_BEAT, Failpoints
from tests.faults.jobs.stack import GivenDatabase
from tests.faults.jobs.test_failpoints import DEFAULTS
from tests.faults.jobs.ticks import Edition, Outage, TickJournal, broken, lateness

pytestmark = [pytest.mark.gen_test(timeout=7200), pytest.mark.timeout(7200)]

_SCHEDULES = 40  # of which the first half is never edited
_SKIPPING = "skipping"  # one whose jobs must not overlap
_CLOCK = 600  # seconds by which that of one host is wrong
_SETTLED = 6.0  # seconds behind the last fault


def definition(number: int) -> Definition:
    """The schedule of a number."""
    return Definition(
        job="nothing", queue="queries.jobs", parameters={}, retry=Retry(), webhook=None,
        cron="* * * * *" if number % 5 == 4 else None, every=None if number % 5 == 4 else 1.0 + number % 5,
        timezone="UTC", enabled=True, overlap=Overlap.ALLOW,
        catch_up=CatchUp.NONE if number % 2 else CatchUp.LATEST,
    )  # fmt: skip


class Editor:
    """Edits the second half of the schedules, one each 100 ms."""

    def __init__(self, store: DatabaseScheduleStore, seed: int) -> None:
        self._store = store
        self._random = random.Random(seed)
        self._definitions = {f"s{number}": definition(number) for number in range(_SCHEDULES)}
        self.edits = 0

    async def begin(self) -> None:
        skipping = replace(definition(0), overlap=Overlap.SKIP)
        for name, wanted in {**self._definitions, _SKIPPING: skipping}.items():
            await self._store.put("", name, wanted, lambda found: found is None, 10.0)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            name = f"s{self._random.randrange(_SCHEDULES // 2, _SCHEDULES)}"
            wanted = self._edited(self._definitions[name])
            with suppress(StoreUnavailable):
                # A put that was not answered may be good: the next one begins with what is there.
                await self._store.put("", name, wanted, lambda _: True, 2.0)
                self._definitions[name] = wanted
                self.edits += 1

    def _edited(self, before: Definition) -> Definition:
        if not before.enabled:
            return replace(before, enabled=True)
        kind = self._random.randrange(4)
        if kind == 0:
            return replace(before, enabled=False)
        if kind == 1:
            return replace(before, parameters={"n": self._random.random()})
        if kind == 2:
            return replace(before, cron="* * * * *", every=None)
        return replace(before, cron=None, every=self._random.choice([1.0, 1.5, 2.25, 3.0]))


async def test_each_tick_gets_one_job_whatever_is_lost(
    tmp_path: Path, start: Start, scale: float, figures: Figures, fresh_database: str | None
) -> None:
    seed = int(os.environ.get("NOWAIT_TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"NOWAIT_TEST_SEED={seed}")
    times = round(200 * scale) or 2
    began = time.monotonic()
    database = _database(tmp_path, fresh_database)
    (tmp_path / "failpoints").mkdir()
    failpoints = Failpoints(tmp_path / "failpoints", seed)
    beats: list[Process] = []
    try:
        await asyncio.to_thread(_begin, database)
        journal = TickJournal(database.url)
        connections = Connections(database.url)
        editor = Editor(DatabaseScheduleStore(connections), seed)
        await editor.begin()
        for clock in (0, _CLOCK):
            beats.append(_beat(start, database, failpoints, clock))
        await _until(lambda: len(journal.read()[1]) > _SCHEDULES // 4)
        first = journal.now()
        editing = asyncio.ensure_future(editor.run())
        working = asyncio.ensure_future(_work(journal))
        outages = await _lose(beats, database, journal, failpoints, times, seed)
        await asyncio.sleep(_SETTLED)
        editing.cancel()
        assert not (editing.done() or working.done())
        working.cancel()
        await connections.close()
        end = journal.now()
        await asyncio.sleep(3.0)
        editions, made = await asyncio.to_thread(journal.read)
    finally:
        for beat in beats:
            beat.kill()
        database.stop()
    late = sorted(lateness(each, outages).total_seconds() for each in made if each.tick > first)
    figures.remark(
        f"schedules, {len(made)} ticks, seed {seed}", took=time.monotonic() - began, edits=editor.edits,
        kills=times, database_kills=len(outages), late_p99=late[int(0.99 * len(late))], late_most=late[-1],
        **{name.replace(",", ":"): failpoints.bites(name) for name in BEAT},
    )  # fmt: skip
    # While schedulers were started, ticks waited; where the test is short, it runs beside others.
    since = [each for each in made if each.tick > first + timedelta(seconds=2)]
    found = broken(_since(editions, first), since, outages, end, timedelta(seconds=2.0 if scale else 5.0))
    assert found == []
    assert sum(each.schedule == _SKIPPING for each in since) > 1


async def test_a_scheduler_that_is_stopped_with_the_lock_holds_up_nobody_for_long(
    tmp_path: Path, start: Start, fresh_database: str | None
) -> None:
    database = _database(tmp_path, fresh_database)
    (tmp_path / "failpoints").mkdir()
    failpoints = Failpoints(tmp_path / "failpoints", 0)
    beats: list[Process] = []
    stopped: list[psutil.Process] = []
    try:
        await asyncio.to_thread(_begin, database)
        journal = TickJournal(database.url)
        connections = Connections(database.url)
        await DatabaseScheduleStore(connections).put("", "s", definition(0), lambda _: True, 10.0)
        await connections.close()
        failpoints.order({FROZEN_BEAT: 1.0}, 1)
        for _ in range(2):
            beats.append(_beat(start, database, failpoints, pause=3600))
            await _until(lambda: failpoints.bites(FROZEN_BEAT) == 1)
        stopped += psutil.Process(beats[0].pid).children()
        await _until(lambda: bool(journal.read()[1]))
        assert [each.status() for each in stopped] == [psutil.STATUS_STOPPED]
        # What it had decided is good for nothing any more.
        last = max(each.tick for each in journal.read()[1])
        stopped.pop().resume()
        await _until(lambda: max(each.tick for each in journal.read()[1]) > last + timedelta(seconds=2))
        ticks = Counter(each.tick for each in journal.read()[1])
        assert max(ticks.values()) == 1
    finally:
        for each in stopped:
            each.kill()
        for beat in beats:
            beat.kill()
        database.stop()


def _database(folder: Path, url: str | None) -> Database | GivenDatabase:
    """The given one, or one of its own, with its own defaults for transactions."""
    return Database(folder / "database", options=list(DEFAULTS)) if url is None else GivenDatabase(url)


def _beat(
    start: Start, database: Database | GivenDatabase, failpoints: Failpoints, clock: int = 0, pause: int = 1
) -> Process:
    return start(
        "beat", *"tests.faults.jobs.beat --quiet -A tasks beat -l INFO".split(), test_clock=clock, test_pause=pause,
        broker_url="amqp://127.0.0.1:1//", database_url=database.url, **failpoints.settings(),
    )  # fmt: skip


async def _work(journal: TickJournal) -> None:
    """End the jobs that must not overlap, now and then."""
    while True:
        await asyncio.sleep(2.5)
        with suppress(MySQLError):  # it is away
            await asyncio.to_thread(journal.end_jobs, _SKIPPING)


def _since(editions: list[Edition], first: datetime) -> list[Edition]:
    """The editions as if they were made when all ran."""
    return [replace(edition, at=max(edition.at, first + timedelta(seconds=1))) for edition in editions]


async def _lose(
    beats: list[Process],
    database: Database | GivenDatabase,
    journal: TickJournal,
    failpoints: Failpoints,
    times: int,
    seed: int,
) -> list[Outage]:
    """Lose schedulers at all points, and anywhere; and the database twice, unless it is a given one."""
    draw = random.Random(seed)
    outages = []
    for part in range(2):
        done = times // 2 * (part + 1)
        failpoints.order(dict.fromkeys(BEAT, 0.1 if times > 10 else 0.3), done)
        for _ in range(times // 2):
            await asyncio.sleep(draw.uniform(0.05, 0.5))
            for child in psutil.Process(draw.choice(beats).pid).children():
                child.kill()
        await _until(lambda: all(failpoints.bites(name) >= done for name in BEAT))
        if isinstance(database, Database):
            outages.append(await asyncio.to_thread(_restart, database, journal, draw.uniform(0.0, 8.0)))
    return outages


def _begin(database: Database | GivenDatabase) -> None:
    database.start()
    database.wait_ready()
    migrate(database.url)
    TickJournal(database.url).open()


def _restart(database: Database, journal: TickJournal, seconds: float) -> Outage:
    start = journal.now()
    database.process.kill()
    time.sleep(seconds)
    database.start()
    database.process.wait_until(lambda: listens(database.port), 90.0)
    database.wait_ready()
    return Outage(start, journal.now())


async def _until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 7200
    while not await asyncio.to_thread(happened):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
