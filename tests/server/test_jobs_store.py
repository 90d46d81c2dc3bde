"""The store: what it promises, whatever the database does meanwhile."""

import asyncio
import signal
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from psutil import Process
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from deploy.local.database import Database
from nowait.database_url import DatabaseUrl
from nowait.jobs.migrations import migrate
from nowait.jobs.retry import Retry
from nowait.jobs.table import State
from server.jobs.connections import Connections
from server.jobs.connections import _within as within
from server.jobs.database import DatabaseStore
from server.jobs.model import (
    AlreadyEnded,
    KeyInUse,
    KeyReused,
    SchemaMissing,
    StoreUnavailable,
    TooManyJobs,
)
from server.jobs.quota import Quota
from tests.bridge.conftest import until
from tests.conftest import connect
from tests.faults.proxy import Proxy
from tests.server.conftest import Rows, connections, new_job, turning

pytestmark = pytest.mark.gen_test

T = 30.0  # seconds: far more than a call takes
MOMENT = datetime(2040, 2, 3, 4, 5, 6, 789000)
ONE, OTHER = b"1" * 32, b"2" * 32


def store(opened: Connections, max_jobs: int = 1000) -> DatabaseStore:
    return DatabaseStore(opened, max_jobs)


async def signals(connection: AsyncConnection, number: int) -> None:
    """Have the database fail a statement with an error of its own."""
    await connection.execute(text(f"SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = 'no'"))


async def test_a_job_is_kept_as_it_was_asked_for(database_url: str, rows: Rows) -> None:
    async with connections(database_url) as opened:
        new = new_job(owner="me", parameters={"s": "Zoë 🐇", "l": [1.5, None]}, retry=Retry(3, 2.0, 60.0))
        job, replayed = await store(opened).add(new, T)
        found = await store(opened).get(job.id, "me", T)
    assert found == job and not replayed
    assert (job.id, job.owner, job.name, job.queue) == (new.id, "me", "count", "queries.jobs")
    assert (job.parameters, job.retry) == (new.parameters, new.retry)
    assert (job.state, job.attempt, job.failures, job.version) == (State.QUEUED, 0, 0, 0)
    assert (job.eta, job.expires, job.started, job.finished) == (None, None, None, None)
    assert (job.progress, job.result, job.error) == (None, None, None)
    (now,) = rows.run("SELECT UTC_TIMESTAMP(6) AS now")
    assert timedelta(0) <= now["now"] - job.created < timedelta(minutes=1)


async def test_its_message_is_due_again_in_five_seconds(database_url: str, rows: Rows) -> None:
    async with connections(database_url) as opened:
        job, _ = await store(opened).add(new_job(), T)
    assert (rows[job.id]["due"] - job.created).total_seconds() == 5


async def test_seconds_are_counted_from_the_databases_now(database_url: str, rows: Rows) -> None:
    async with connections(database_url) as opened:
        job, _ = await store(opened).add(new_job(countdown=60.5, expires_in=120), T)
    assert job.eta is not None and job.expires is not None
    assert (job.eta - job.created, job.expires - job.created) == (timedelta(seconds=60.5), timedelta(seconds=120))
    assert rows[job.id]["due"] == job.eta


async def test_moments_are_taken_as_they_are(database_url: str, rows: Rows) -> None:
    async with connections(database_url) as opened:
        job, _ = await store(opened).add(new_job(eta=MOMENT, expires=MOMENT + timedelta(days=1)), T)
    assert (job.eta, job.expires) == (MOMENT, MOMENT + timedelta(days=1))
    assert rows[job.id]["due"] == MOMENT


@pytest.mark.parametrize("values", [{"eta": datetime(2020, 1, 1)}, {"countdown": 0}])
async def test_a_job_whose_eta_has_come_waits_for_its_confirm_as_any_other(
    database_url: str, rows: Rows, values: Any
) -> None:
    async with connections(database_url) as opened:
        job, _ = await store(opened).add(new_job(**values), T)
    assert (rows[job.id]["due"] - job.created).total_seconds() == 5


@pytest.mark.parametrize("values", [{}, {"countdown": 60}])
async def test_a_job_that_expires_before_is_due_then(database_url: str, rows: Rows, values: Any) -> None:
    async with connections(database_url) as opened:
        job, _ = await store(opened).add(new_job(expires_in=2, **values), T)
    assert rows[job.id]["due"] == job.expires


async def test_a_job_is_its_owners_alone(database_url: str) -> None:
    async with connections(database_url) as opened:
        job, _ = await store(opened).add(new_job(owner="me"), T)
        assert await store(opened).get(job.id, "you", T) is None
        assert await store(opened).cancel(job.id, "you", T) is None
        assert await store(opened).list("you", T, limit=10, before=None, state=None, name=None) == []
        assert await store(opened).get(str(uuid4()), "me", T) is None


async def test_to_everybody_there_are_the_jobs_of_all_owners(database_url: str, rows: Rows) -> None:
    ids = [f"0000000{n}-0000-7000-8000-000000000000" for n in range(3)]
    for job_id, owner, state in zip(ids, ("", "me", "you"), ("queued", "failed", "succeeded")):
        rows.add(id=job_id, owner=owner, state=state, schedule="s", webhook="https://a")
    async with connections(database_url) as opened:
        everything = store(opened)
        for filters in ({}, {"schedule": "s"}):
            listed = await everything.list(None, T, limit=10, before=None, state=None, name=None, **filters)
            assert [job.id for job in listed] == ids[::-1]
        (failed,) = await everything.list(None, T, limit=10, before=None, state=State.FAILED, name=None)
        assert failed.owner == "me"
        for job_id, call in zip(ids, (everything.cancel, everything.retry, everything.redeliver)):
            job = await everything.get(job_id, None, T)
            changed = await call(job_id, None, T)
            assert job is not None and changed is not None
            assert job_id == ids[2] or changed.state != job.state


async def test_a_list_has_the_newest_first_and_no_results(database_url: str, rows: Rows) -> None:
    ids = [f"0000000{n}-0000-7000-8000-000000000000" for n in range(5)]
    for n, job_id in enumerate(ids):
        state = "succeeded" if n % 2 else "queued"
        rows.add(id=job_id, owner="me", name=f"job{n // 2}", state=state, result="[1]")
    async with connections(database_url) as opened:

        async def listed(limit: int = 10, before: Any = None, state: Any = None, name: Any = None) -> list[str]:
            jobs = await store(opened).list("me", T, limit=limit, before=before, state=state, name=name)
            assert all(job.result is None for job in jobs)
            return [job.id for job in jobs]

        assert await listed() == ids[::-1]
        assert await listed(limit=2) == [ids[4], ids[3]]
        assert await listed(limit=2, before=ids[3]) == [ids[2], ids[1]]
        assert await listed(state=State.SUCCEEDED) == [ids[3], ids[1]]
        assert await listed(state=State.SUCCEEDED, before=ids[3]) == [ids[1]]
        assert await listed(name="job1") == [ids[3], ids[2]]
        assert (await store(opened).get(ids[1], "me", T)).result == "[1]"  # type: ignore[union-attr]


async def test_the_jobs_of_a_schedule_are_listed_with_their_ticks(database_url: str, rows: Rows) -> None:
    ids = [rows.add(owner="me", schedule=name, tick=tick) for name, tick in (("s", MOMENT), ("s", None), ("t", MOMENT))]
    async with connections(database_url) as opened:
        found = await store(opened).list("me", T, limit=10, before=None, state=None, name=None, schedule="s")
    assert {job.id: (job.schedule, job.tick) for job in found} == {ids[0]: ("s", MOMENT), ids[1]: ("s", None)}


async def test_versions_are_of_those_that_are_there(database_url: str, rows: Rows) -> None:
    one, two = rows.add(version=3), rows.add(version=0)
    async with connections(database_url) as opened:
        assert await store(opened).versions({one, two, str(uuid4())}, T) == {one: 3, two: 0}
        assert await store(opened).versions([], T) == {}


@pytest.mark.parametrize("state", ["queued", "running"])
async def test_a_cancelled_job_stays_cancelled(database_url: str, rows: Rows, state: str) -> None:
    job_id = rows.add(state=state, version=4)
    async with connections(database_url) as opened:
        job = await store(opened).cancel(job_id, "", T)
        assert job is not None and (job.state, job.version) == (State.CANCELLED, 5)
        assert job.finished is not None
        assert await store(opened).cancel(job_id, "", T) == job
    assert rows[job_id]["due_in"] == pytest.approx(3600, abs=60)


async def test_a_job_with_a_webhook_is_due_at_its_end(database_url: str, rows: Rows) -> None:
    job_id = rows.add(due_in=60, webhook="https://a.example/")
    async with connections(database_url) as opened:
        await store(opened).cancel(job_id, "", T)
    assert rows[job_id]["due"] == rows[job_id]["finished"]


@pytest.mark.parametrize("state", ["succeeded", "failed", "expired"])
async def test_a_job_that_has_ended_is_not_cancelled(database_url: str, rows: Rows, state: str) -> None:
    job_id = rows.add(state=state)
    async with connections(database_url) as opened:
        with pytest.raises(AlreadyEnded, match=state) as raised:
            await store(opened).cancel(job_id, "", T)
    assert raised.value.job.id == job_id and raised.value.job.state == State(state)


async def test_a_key_makes_one_job(database_url: str, rows: Rows) -> None:
    async with connections(database_url) as opened:
        job, _ = await store(opened).add(new_job(key="k", fingerprint=ONE), T)
        assert await store(opened).add(new_job(key="k", fingerprint=ONE), T) == (job, True)
        with pytest.raises(KeyReused):
            await store(opened).add(new_job(key="k", fingerprint=OTHER), T)
        assert (await store(opened).add(new_job(key="k", owner="you", fingerprint=OTHER), T))[1] is False
        assert (await store(opened).add(new_job(key="K", fingerprint=OTHER), T))[1] is False
    assert len(rows.run("SELECT id FROM jobs")) == 3


async def test_a_key_makes_one_job_when_all_come_at_once(database_url: str, rows: Rows) -> None:
    async with connections(database_url) as opened:
        adding = (store(opened).add(new_job(key="k", fingerprint=ONE), T) for _ in range(100))
        answers = await asyncio.gather(*adding)
    (row,) = rows.run("SELECT id FROM jobs")
    assert {job.id for job, _ in answers} == {row["id"]}
    assert [replayed for _, replayed in answers].count(False) == 1


async def test_a_repeated_request_gets_the_job_as_it_is_now(database_url: str, rows: Rows) -> None:
    rows.add(idempotency_key="k", fingerprint=ONE, state="succeeded", result="7")
    async with connections(database_url) as opened:
        job, replayed = await store(opened).add(new_job(key="k", fingerprint=ONE), T)
    assert (job.state, job.result, replayed) == (State.SUCCEEDED, "7", True)


async def test_a_request_does_not_wait_long_for_the_first_of_its_key(database_url: str, rows: Rows) -> None:
    with connect(database_url) as first:
        first.begin()
        first.cursor().execute(
            "INSERT INTO jobs (id, name, queue, parameters, retry, state, due, created, idempotency_key)"
            " VALUES ('1', 'n', 'q', '{}', '{}', 'queued', UTC_TIMESTAMP(), UTC_TIMESTAMP(), 'k')"
        )
        async with connections(database_url) as opened:
            with pytest.raises(KeyInUse):
                await store(opened).add(new_job(key="k", fingerprint=ONE), T)
            waits = asyncio.create_task(store(opened).add(new_job(key="k", fingerprint=ONE), T))
            waiting = "SELECT 1 FROM information_schema.processlist WHERE info LIKE 'INSERT%' AND command = 'Query'"
            await until(lambda: bool(rows.run(waiting)))
            first.rollback()
            assert (await waits)[1] is False


@pytest.mark.parametrize("number", [1213, 1020])
async def test_what_the_database_has_rolled_back_is_repeated(database_url: str, number: int) -> None:
    async with connections(database_url) as opened:
        runs = 0

        async def steps(connection: AsyncConnection) -> str:
            nonlocal runs
            runs += 1
            if runs <= 3:
                await signals(connection, number)
            return "done"

        assert await opened.transaction(steps, T) == "done"
        runs = -10
        with pytest.raises(StoreUnavailable, match=str(number)):
            await opened.transaction(steps, T)
        assert runs == -6


async def test_another_error_is_not_repeated(database_url: str) -> None:
    async with connections(database_url) as opened:
        with pytest.raises(StoreUnavailable, match="1205"):
            await opened.transaction(lambda connection: signals(connection, 1205), T)
        with pytest.raises(ProgrammingError):
            await opened.transaction(lambda connection: connection.execute(text("no SQL")), T)


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("key", [None, "k"])
async def test_a_connection_lost_in_commit_leaves_one_job(
    database_url: str, private_database: Database, rows: Rows, lost: bool, key: str | None
) -> None:
    async with Proxy(private_database.port) as proxy:
        url = database_url.replace(f":{private_database.port}/", f":{proxy.port}/")
        async with connections(url) as opened:
            await store(opened).get("", "", T)
            proxy.lost_words, proxy.last_words = lost, b"COMMIT"
            job, replayed = await store(opened).add(new_job(key=key, fingerprint=ONE), T)
            assert proxy.last_words is None
    assert not replayed
    assert [row["id"] for row in rows.run("SELECT id FROM jobs")] == [job.id]


async def test_a_connection_lost_in_commit_takes_no_job_for_one_too_many(
    database_url: str, private_database: Database, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.jobs.quota._FRESH", 0.0)  # jobs are counted each time
    async with Proxy(private_database.port) as proxy:
        async with connections(database_url.replace(f":{private_database.port}/", f":{proxy.port}/")) as opened:
            await store(opened).get("", "", T)
            proxy.last_words = b"COMMIT"
            bounded = store(opened, max_jobs=1)
            job, _ = await bounded.add(new_job(owner="me"), T)
            assert proxy.last_words is None
    assert [row["id"] for row in rows.run("SELECT id FROM jobs")] == [job.id]


async def test_a_connection_lost_at_its_cancel_does_not_make_it_one_that_had_ended(
    database_url: str, private_database: Database, rows: Rows
) -> None:
    job_id = rows.add()
    async with Proxy(private_database.port) as proxy:
        async with connections(database_url.replace(f":{private_database.port}/", f":{proxy.port}/")) as opened:
            await store(opened).get("", "", T)
            proxy.last_words = b"COMMIT"
            job = await store(opened).cancel(job_id, "", T)
    assert job is not None and (job.state, job.version) == (State.CANCELLED, 1)


async def test_an_owner_has_so_many_unfinished_jobs_and_no_more(database_url: str, rows: Rows) -> None:
    for state in ("succeeded", "failed", "cancelled", "expired"):
        rows.add(owner="me", state=state)
    rows.add(owner="me", state="running")
    rows.add(owner="you")
    async with connections(database_url) as opened:
        bounded = store(opened, max_jobs=2)
        job, _ = await bounded.add(new_job(owner="me", key="k", fingerprint=ONE), T)
        with pytest.raises(TooManyJobs):
            await bounded.add(new_job(owner="me"), T)
        assert await bounded.add(new_job(owner="me", key="k", fingerprint=ONE), T) == (job, True)
        with pytest.raises(KeyReused):
            await bounded.add(new_job(owner="me", key="k", fingerprint=OTHER), T)
        await bounded.add(new_job(owner="you"), T)
        with pytest.raises(TooManyJobs):
            await store(opened, max_jobs=2).add(new_job(owner="me"), T)
    assert len(rows.run("SELECT id FROM jobs WHERE owner = 'me'")) == 6


def test_jobs_are_counted_once_a_second_at_most() -> None:
    quota = Quota(3)
    assert quota.stale("me", 10.0)
    quota.counted("me", 1)
    assert not quota.stale("me", 10.9)
    quota.added("me")
    assert not quota.full("me")
    quota.added("me")
    assert quota.full("me")
    assert quota.stale("you", 10.9)
    assert not quota.full("you")
    assert quota.stale("me", 11.0)
    quota.counted("me", 0)
    assert not quota.full("me")


async def all_at_once(opened: Connections, number: int) -> None:
    """Has so many connections of the pool in use at one moment; the test ends if there are fewer."""
    in_use = 0
    everybody = asyncio.Event()

    async def steps(connection: AsyncConnection) -> None:
        nonlocal in_use
        await connection.execute(text("SELECT 1"))
        in_use += 1
        if in_use == number:
            everybody.set()
        await everybody.wait()

    await asyncio.gather(*(opened.transaction(steps, T) for _ in range(number)))


async def test_who_waits_for_a_connection_is_served_before_who_comes_later(database_url: str) -> None:
    came, served = [], []

    async def client(name: int) -> None:
        async def steps(connection: AsyncConnection) -> None:
            served.append(name)
            await connection.execute(text("SELECT 1"))

        for number in range(30):
            for _ in range((name + number) % 12):  # at each of the loop's turns, somebody comes
                await asyncio.sleep(0)
            came.append(name)
            await opened.transaction(steps, T)

    async with connections(database_url, most=1) as opened:
        await asyncio.gather(*(client(name) for name in range(5)))
    assert served == came


@pytest.mark.parametrize("parameters", [{}, {"long": "x" * 15_000_000}], ids=["small", "large"])
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
async def test_no_call_waits_for_a_frozen_database_and_the_pool_is_whole_afterwards(
    database_url: str, private_database: Database, warm: bool, parameters: Any
) -> None:
    server = private_database.process
    async with connections(database_url, most=4) as opened:
        kept = store(opened)
        if warm:
            await all_at_once(opened, 4)
        server.signal(signal.SIGSTOP)
        try:
            async with turning() as turns:
                calls = [kept.add(new_job(parameters=parameters), 0.5) for _ in range(8)]
                calls += [kept.get("", "", 0.5) for _ in range(8)]  # type: ignore[misc]
                cancelled = [asyncio.ensure_future(kept.get("", "", T)) for _ in range(8)]
                waiting = asyncio.gather(*calls, return_exceptions=True)
                await asyncio.sleep(0.1)
                for call in cancelled:
                    call.cancel()
                answers = await asyncio.wait_for(waiting, T)
                await asyncio.wait_for(asyncio.gather(*cancelled, return_exceptions=True), T)
                assert turns() > 50
        finally:
            server.signal(signal.SIGCONT)
        assert all(isinstance(answer, StoreUnavailable) for answer in answers)
        assert all(call.cancelled() for call in cancelled)
        await all_at_once(opened, 4)


@pytest.mark.parametrize("words", [b"INSERT", b"SELECT jobs.id", b"COMMIT"])
async def test_a_database_that_falls_silent_in_the_middle_costs_no_connection(
    database_url: str, private_database: Database, words: bytes
) -> None:
    async with Proxy(private_database.port) as proxy:
        async with connections(database_url.replace(f":{private_database.port}/", f":{proxy.port}/"), most=2) as opened:
            await all_at_once(opened, 2)
            proxy.silent_at = words
            for _ in range(3):
                with pytest.raises(StoreUnavailable, match=r"within 0\.[23]\d* s"):
                    await store(opened).add(new_job(), 0.3)
            proxy.silent_at = None
            proxy.accept()
            await all_at_once(opened, 2)


async def test_who_is_cancelled_does_not_go_on_with_an_answer_of_the_same_moment() -> None:
    async def answers() -> None:
        caller.cancel()

    caller = asyncio.ensure_future(within(T, answers()))
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_work_that_misses_its_cancellation_is_cancelled_again() -> None:
    missed = []

    async def hangs() -> None:
        try:
            await asyncio.sleep(T)
        except asyncio.CancelledError:
            missed.append(1)
        await asyncio.sleep(T)

    with pytest.raises(StoreUnavailable):
        await within(0.01, hangs())
    assert missed == [1]


async def test_the_end_of_a_transaction_is_the_last_that_is_sent(
    database_url: str, private_database: Database
) -> None:
    # Nothing ends what SQLAlchemy sends on a connection's way back to the pool.
    async with Proxy(private_database.port) as proxy:
        async with connections(database_url.replace(f":{private_database.port}/", f":{proxy.port}/")) as opened:
            await store(opened).get("", "", T)
            proxy.last_words = b"ROLLBACK"
            await store(opened).add(new_job(), T)
            await store(opened).get("", "", T)
            await store(opened).cancel("", "", T)
            assert proxy.last_words is not None


async def test_connections_that_a_restart_has_cut_are_replaced_without_an_error(
    database_url: str, private_database: Database
) -> None:
    async with connections(database_url, most=3) as opened:
        await all_at_once(opened, 3)
        private_database.process.kill()
        with pytest.raises(StoreUnavailable) as away:
            await store(opened).get("", "", T)
        private_database.start()
        await asyncio.to_thread(private_database.wait_ready)
        await store(opened).add(new_job(), T)
        await all_at_once(opened, 3)
    assert str(away.value) == "the database cannot be reached"


@pytest.mark.parametrize(
    ("rename", "name"),
    [("RENAME TABLE {} TO {}", "jobs"), ("ALTER TABLE jobs RENAME COLUMN {} TO {}", "eta")],
    ids=["missing", "too old"],
)
async def test_a_table_that_is_not_as_it_should_be_is_missing(
    database_url: str, rows: Rows, rename: str, name: str
) -> None:
    rows.run(rename.format(name, "another"))
    try:
        async with connections(database_url) as opened:
            with pytest.raises(SchemaMissing, match="^the table of jobs is missing or too old: run `python"):
                await store(opened).add(new_job(), T)
            with pytest.raises(SchemaMissing):
                await store(opened).get("", "", T)
    finally:
        rows.run(rename.format("another", name))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE nowait_migrations SET version_num = '0000'", "the schema of jobs is 0000, 0005 is needed: run `py"),
        ("DELETE FROM nowait_migrations", "the table of jobs is missing: run `python -m nowait.jobs`"),
        ("RENAME TABLE nowait_migrations TO another", "the table of jobs is missing: run `python -m nowait.jobs`"),
    ],
)
async def test_a_schema_that_is_too_old_is_looked_at_until_it_is_good_and_never_again(
    database_url: str, rows: Rows, change: str, says: str
) -> None:
    (row,) = rows.run("SELECT version_num FROM nowait_migrations")
    revision = row["version_num"]
    async with connections(database_url) as opened:
        try:
            rows.run(change)
            for call in (store(opened).add(new_job(), T), store(opened).get("", "", T)):
                with pytest.raises(SchemaMissing, match=f"^{says}"):
                    await call
            assert rows.run("SELECT id FROM jobs") == ()
        finally:
            if change.startswith("RENAME"):
                rows.run("RENAME TABLE another TO nowait_migrations")
            rows.run("REPLACE INTO nowait_migrations VALUES (%s)", revision)
            rows.run("DELETE FROM nowait_migrations WHERE version_num <> %s", revision)
        await store(opened).add(new_job(), T)
        rows.run("RENAME TABLE nowait_migrations TO another")
        try:
            await store(opened).add(new_job(), T)
        finally:
            rows.run("RENAME TABLE another TO nowait_migrations")


async def test_an_error_has_no_statement_and_no_address(database_url: str) -> None:
    async with connections(database_url.replace("nowait:", "nobody:")) as opened:
        with pytest.raises(StoreUnavailable, match=r"^the database failed \(error 1045\)$"):
            await store(opened).get("", "", T)


async def test_a_job_that_the_table_cannot_hold_is_a_defect_and_not_a_database_that_is_away(database_url: str) -> None:
    async with connections(database_url) as opened:
        with pytest.raises(Exception, match="1406"):
            await store(opened).add(new_job(name="x" * 101), T)


async def test_a_connection_is_as_the_table_of_jobs_wants_it(database_url: str) -> None:
    async with connections(database_url) as opened:

        async def steps(connection: AsyncConnection) -> Any:
            return dict(map(tuple, await connection.execute(text("SHOW VARIABLES"))))

        found = await opened.transaction(steps, T)
    levels = {found.get("tx_isolation"), found.get("transaction_isolation")}  # MariaDB has the one, MySQL the other
    assert levels - {None} == {"READ-COMMITTED"}
    assert (found["time_zone"], found["innodb_lock_wait_timeout"], found["wait_timeout"]) == ("+00:00", "1", "60")
    assert found.get("max_statement_time", found.get("max_execution_time")) in ("10.000000", "10000")


async def test_the_connection_may_be_encrypted(trusted: str) -> None:
    await asyncio.to_thread(migrate, trusted)
    async with connections(trusted) as opened:

        async def steps(connection: AsyncConnection) -> Any:
            return (await connection.execute(text("SHOW STATUS LIKE 'Ssl_cipher'"))).one()[1]

        assert await opened.transaction(steps, T)
    # The farewell of TLS takes a moment.
    port = DatabaseUrl.parse(trusted).port
    await until(lambda: not [each for each in Process().net_connections("tcp") if each.raddr and each.raddr[1] == port])
