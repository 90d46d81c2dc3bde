"""The store of schedules: what it promises, whatever the database does meanwhile."""

import asyncio
import signal
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.dialects import mysql

from deploy.local.database import Database
from nowait.jobs.retry import Retry
from nowait.jobs.table import CatchUp, Overlap
from server.jobs.database import DatabaseStore
from server.jobs.model import StoreUnavailable
from server.jobs.rows import listed
from server.schedules.database import DatabaseScheduleStore
from server.schedules.model import Definition, PreconditionFailed, Schedule
from tests.bridge.conftest import until
from tests.conftest import connect
from tests.faults.proxy import Proxy
from tests.server.conftest import Rows, connections

pytestmark = pytest.mark.gen_test

T = 30.0  # seconds: far more than a call takes
MINUTELY = Definition(
    job="count", queue="queries.jobs", parameters={"n": [1, "Zoë"]}, retry=Retry(3, 2.0, 60.0), webhook=None,
    cron=None, every=60.25, timezone="UTC", enabled=True, overlap=Overlap.SKIP, catch_up=CatchUp.NONE,
)  # fmt: skip


def whatever(_: Schedule | None) -> bool:
    return True


def version(number: int) -> Any:
    """The condition that a schedule has a version."""
    return lambda found: found is not None and found.version == number


async def test_a_schedule_is_kept_as_it_was_asked_for(database_url: str, rows: Rows) -> None:
    async with connections(database_url) as opened:
        store = DatabaseScheduleStore(opened)
        made, created = await store.put("me", "s", MINUTELY, whatever, T)
        assert await store.get("me", "s", T) == made and created
        assert await store.get("you", "s", T) is None and await store.get("me", "S", T) is None
    assert made.definition == MINUTELY and made.version == 0
    assert (made.last_tick, made.last_job, made.changed) == (None, None, made.created)
    assert made.due == made.created + timedelta(seconds=60.25)
    (now,) = rows.run("SELECT UTC_TIMESTAMP(6) AS now")
    assert timedelta(0) <= now["now"] - made.created < timedelta(minutes=1)


async def test_what_a_scheduler_has_noted_remains(database_url: str, rows: Rows) -> None:
    async with connections(database_url) as opened:
        store = DatabaseScheduleStore(opened)
        await store.put("me", "s", MINUTELY, whatever, T)
        rows.run("UPDATE schedules SET last_tick = '2026-01-01', last_job = 'x', due = '2030-01-01'")
        after, created = await store.put("me", "s", replace(MINUTELY, overlap=Overlap.ALLOW), whatever, T)
        assert await store.get("me", "s", T) == after and not created
    assert (after.last_tick, after.last_job, after.due) == (datetime(2026, 1, 1), "x", datetime(2030, 1, 1))
    assert after.version == 1


async def test_of_all_who_make_one_at_once_one_does(database_url: str) -> None:
    async with connections(database_url) as opened:
        store = DatabaseScheduleStore(opened)
        edits = (store.put("me", "s", replace(MINUTELY, every=float(n)), whatever, T) for n in range(10, 60))
        answers = await asyncio.gather(*edits)
        assert [created for _, created in answers].count(True) == 1
        assert sorted(made.version for made, _ in answers) == list(range(50))
        new = (store.put("me", "t", MINUTELY, lambda found: found is None, T) for _ in range(20))
        answers_of_new = await asyncio.gather(*new, return_exceptions=True)
    assert sum(isinstance(answer, PreconditionFailed) for answer in answers_of_new) == 19


async def test_of_all_who_edit_the_same_version_one_does(database_url: str) -> None:
    async with connections(database_url) as opened:
        store = DatabaseScheduleStore(opened)
        await store.put("me", "s", MINUTELY, whatever, T)
        edits = (store.put("me", "s", replace(MINUTELY, every=float(n)), version(0), T) for n in range(10, 30))
        answers = await asyncio.gather(*edits, return_exceptions=True)
        assert sum(isinstance(answer, PreconditionFailed) for answer in answers) == 19
        found = await store.get("me", "s", T)
    assert found is not None and found.version == 1


@pytest.mark.parametrize("lost", [False, True], ids=["committed", "not committed"])
async def test_a_connection_that_is_lost_in_commit_leaves_no_doubt(
    database_url: str, private_database: Database, lost: bool
) -> None:
    async with Proxy(private_database.port) as proxy:
        url = database_url.replace(f":{private_database.port}/", f":{proxy.port}/")
        async with connections(url) as opened:
            store = DatabaseScheduleStore(opened)
            await store.get("me", "s", T)

            def cut() -> None:
                proxy.lost_words, proxy.last_words = lost, b"COMMIT"

            cut()
            _, created = await store.put("me", "s", MINUTELY, lambda found: found is None, T)
            assert created and proxy.last_words is None
            cut()
            edited, created = await store.put("me", "s", replace(MINUTELY, every=5.0), version(0), T)
            assert (edited.version, created) == (1, False)
            cut()
            paused = await store.switch("me", "s", False, version(1), T)
            assert paused is not None and (paused.version, paused.due) == (2, None)
            cut()
            assert await store.delete("me", "s", version(2), T)
            assert proxy.last_words is None


async def test_the_next_tick_is_behind_the_one_that_a_scheduler_deals_with_meanwhile(
    database_url: str, rows: Rows
) -> None:
    async with connections(database_url) as opened:
        store = DatabaseScheduleStore(opened)
        await store.put("me", "s", MINUTELY, whatever, T)
        with connect(database_url) as scheduler, scheduler.cursor() as cursor:
            scheduler.begin()
            cursor.execute("SELECT * FROM schedules FOR UPDATE")
            edit = asyncio.ensure_future(store.put("me", "s", replace(MINUTELY, every=1.0), whatever, T))
            waiting = "SELECT 1 FROM information_schema.processlist WHERE info LIKE 'SELECT%FOR UPDATE'"
            await until(lambda: bool(rows.run(waiting)))
            cursor.execute("SELECT UTC_TIMESTAMP(6)")
            (moment,) = cursor.fetchone() or ()
            scheduler.rollback()
            made, _ = await edit
    assert made.changed >= moment


async def test_who_waits_for_a_lock_does_not_wait_long(database_url: str) -> None:
    async with connections(database_url) as opened:
        store = DatabaseScheduleStore(opened)
        await store.put("me", "s", MINUTELY, whatever, T)
        with connect(database_url) as scheduler, scheduler.cursor() as cursor:
            scheduler.begin()
            cursor.execute("SELECT * FROM schedules FOR UPDATE")
            with pytest.raises(StoreUnavailable, match="1205"):
                await store.switch("me", "s", False, whatever, T)


async def test_a_frozen_database_is_away_within_the_time_of_a_call(
    database_url: str, private_database: Database
) -> None:
    async with connections(database_url) as opened:
        store = DatabaseScheduleStore(opened)
        await store.put("me", "s", MINUTELY, whatever, T)
        private_database.process.signal(signal.SIGSTOP)
        try:
            for call in (
                store.put("me", "s", MINUTELY, whatever, 0.3),
                store.get("me", "s", 0.3),
                store.list("me", 0.3, limit=1, after=None),
                store.delete("me", "s", whatever, 0.3),
            ):
                with pytest.raises(StoreUnavailable, match="within 0.3 s"):
                    await call
        finally:
            private_database.process.signal(signal.SIGCONT)
        assert await store.get("me", "s", T) is not None


async def test_the_newest_jobs_of_a_schedule_are_found_without_looking_at_the_others(
    database_url: str, rows: Rows
) -> None:
    for number in range(200):
        rows.add(schedule="s" if number % 2 else "t")
    async with connections(database_url) as opened:
        found = await DatabaseStore(opened, 1000).list("", T, limit=5, before=None, state=None, name=None, schedule="s")
    assert len(found) == 5
    literal: Any = {"dialect": mysql.dialect(), "compile_kwargs": {"literal_binds": True}}
    compiled = listed("", 5, None, None, None, "s").compile(**literal)
    (jobs, *_) = rows.run(f"EXPLAIN FORMAT=TRADITIONAL {compiled}")
    assert jobs["key"] == "schedule" and "filesort" not in jobs["Extra"] and "temporary" not in jobs["Extra"]
