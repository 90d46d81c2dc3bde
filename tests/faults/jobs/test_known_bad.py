"""Variants of the steps that are known to be wrong: each breaks a promise, and the check of that promise finds it.

The same course of events without the fault breaks none. Time passes by hand, and who waits for whom is arranged.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence, Set
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import BindParameter
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.visitors import replacement_traverse

import server.jobs.database
from deploy.local.database import Database
from nowait.jobs import protocol
from nowait.jobs.migrations import migrate
from nowait.jobs.table import State, jobs
from server.jobs import relay
from server.jobs.decisions import Message, Plan, Retention, due_job
from server.jobs.model import NewJob
from tests.conftest import connect
from tests.faults.jobs.chance import raises
from tests.faults.jobs.invariants import broken
from tests.faults.jobs.journal import Books, Journal
from tests.faults.jobs.scene import QUEUE, Held, Late, Scene
from tests.faults.jobs.test_failpoints import DEFAULTS
from tests.tasks.jobs import defined, effect

pytestmark = pytest.mark.gen_test(timeout=60)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database with the table of jobs, and its own defaults for transactions."""
    database = Database(tmp_path_factory.mktemp("known-bad"), options=DEFAULTS)
    try:
        database.start()
        database.wait_ready()
        migrate(database.url)
        Journal(database.url).open()
        yield database
    finally:
        database.stop()


@asynccontextmanager
async def on(database: Database) -> AsyncIterator[Scene]:
    """A scene with nothing in its tables."""
    with connect(database.url) as connection, connection.cursor() as cursor:
        for table in ("jobs", "effects", "changes"):
            cursor.execute(f"DELETE FROM {table}")
    scene = Scene(database.url)
    try:
        yield scene
    finally:
        await scene.close()


def read(database: Database) -> Books:
    return Journal(database.url).read()


def by_state_alone(step: protocol.Step) -> protocol.Step:
    """A step whose fence is without the attempt: it is found equal to itself."""
    statement: Any = step[0]._generate()

    def replace(element: Any, **_: Any) -> Any:
        return jobs.c.attempt if isinstance(element, BindParameter) and element.key == "held" else None

    # The statement as a whole, copied that way, would take no further values.
    statement._where_criteria = tuple(
        replacement_traverse(condition, {}, replace) for condition in statement._where_criteria
    )
    return statement, {name: value for name, value in step[1].items() if name != "held"}


@pytest.fixture(params=[False, True], ids=["as it is", "by state alone"])
def fence(request: pytest.FixtureRequest) -> bool:
    """Is the fence of one of a zombie's steps without the attempt?"""
    return bool(request.param)


async def haunted(scene: Scene, new: NewJob, **options: Any) -> tuple[Held, "asyncio.Future[Any]"]:
    """The first attempt of a job, at its end, once a second one has been claimed; and that end."""
    job_id = await scene.post(new)
    zombie = scene.attempt(job_id, 1, Held, **options)
    end = asyncio.ensure_future(asyncio.to_thread(zombie.run))
    await asyncio.to_thread(zombie.at_its_end.wait, 30)
    scene.lapse(job_id)
    await scene.look()
    return zombie, end


def first_raises(job_id: str) -> bool:
    """Does the first of three attempts raise, and no other?"""
    return [raises(job_id, number, 0.5) for number in (1, 2, 3)] == [True, False, False]


def unfence(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Have one step of the protocol go by the state alone."""
    original = getattr(protocol, step)

    def unfenced(*arguments: Any) -> Any:
        return by_state_alone(original(*arguments))

    monkeypatch.setattr(protocol, step, unfenced)


async def test_a_zombies_success(database: Database, monkeypatch: pytest.MonkeyPatch, fence: bool) -> None:
    """Its effects are there once even so, as the second attempt finds that the job has ended: they are another's."""
    if fence:
        unfence(monkeypatch, "succeed")
    async with on(database) as scene:
        new = scene.job()
        zombie, end = await haunted(scene, new)
        second = scene.attempt(new.id, 2)
        zombie.go_on.set()
        assert await end == (State.SUCCEEDED if fence else None)
        assert await asyncio.to_thread(second.run) == (None if fence else State.SUCCEEDED)
        await scene.settle()
        found, books = broken(read(database), scene.answers), read(database)
    assert len(books.effects[new.id]) == 2
    assert any("with effects of the attempts [1, 1]" in what for what in found) == bool(found) == fence, found


@pytest.mark.parametrize(("step", "retries"), [("retry", 1), ("fail", 0)])
async def test_a_zombies_failure(
    database: Database, monkeypatch: pytest.MonkeyPatch, fence: bool, step: str, retries: int
) -> None:
    if fence:
        unfence(monkeypatch, step)
    async with on(database) as scene:
        new = scene.job(first_raises, 0.5, retries)
        zombie, end = await haunted(scene, new)
        second = scene.attempt(new.id, 2)
        zombie.go_on.set()
        assert (await end is None) != fence
        await asyncio.to_thread(second.run)
        await scene.settle()
        found = broken(read(database), scene.answers)
    assert any("attempt 2 failed, which does not raise" in what for what in found) == bool(found) == fence, found


async def test_a_zombies_progress(database: Database, monkeypatch: pytest.MonkeyPatch, fence: bool) -> None:
    if fence:
        unfence(monkeypatch, "report")

    def silent(job: Any, **_: Any) -> int:
        effect(job)
        effect(job)
        return int(job.attempt)

    number = {"type": "number"}
    function = defined(silent, parameters={"seconds": number, "failing": number})
    async with on(database) as scene:
        new = scene.job()
        zombie, end = await haunted(scene, new)
        second = scene.attempt(new.id, 2, definition=function)
        zombie.go_on.set()
        assert await end is None
        assert await asyncio.to_thread(second.run) is State.SUCCEEDED
        found = broken(read(database), scene.answers)
    assert any("with the progress {'begun': 1}" in what for what in found) == bool(found) == fence, found


async def test_a_zombies_heartbeat(database: Database, monkeypatch: pytest.MonkeyPatch, fence: bool) -> None:
    """The second worker is lost: nobody finds out as long as the zombie writes."""
    if fence:
        unfence(monkeypatch, "heartbeat")
    async with on(database) as scene:
        new = scene.job()
        zombie, end = await haunted(scene, new)
        assert scene.claim(new.id, 2) is not None
        scene.lapse(new.id)
        zombie.go_on.set()
        assert await end is None
        # The next pause is seconds: time passes, unless somebody has written.
        await scene.look()
        if not fence:
            scene.lapse(new.id)
        await scene.settle()
        found = broken(read(database), scene.answers)
    assert any("has not ended: running" in what for what in found) == bool(found) == fence, found


@pytest.mark.parametrize("when", ["before INSERT", "before COMMIT", "behind COMMIT"])
async def test_a_message_before_its_row(database: Database, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """A worker that finds no row drops the message, and the broker's confirm has nothing more sent for ten minutes.

    One that finds a row that is not committed waits for it.
    """
    original = server.jobs.database._insert
    delivering: list[asyncio.Future[bool]] = []
    async with on(database) as scene:

        async def insert(added: Sequence[NewJob], connection: AsyncConnection) -> Any:
            scene.publisher.publish(Message(added[0].id, 1, QUEUE))
            if when == "before INSERT":
                assert await scene.deliver()
                return await original(added, connection)
            inserted = await original(added, connection)
            delivering.append(asyncio.ensure_future(scene.deliver()))
            await waits_for_a_lock(database, "running")
            return inserted

        new = scene.job()
        if when == "behind COMMIT":
            await scene.post(new)
        else:
            monkeypatch.setattr(server.jobs.database, "_insert", insert)
            await scene.store.add(new, 10.0)
            scene.answers.ids[new.id] = new.id
            assert len(scene.bridge.sent) == 1
        await asyncio.gather(*delivering)
        await scene.settle()
        found = broken(read(database), scene.answers)
    bad = when == "before INSERT"
    assert any("has not ended: queued, due -" in what for what in found) == bool(found) == bad, found


@pytest.mark.parametrize("stale", [False, True], ids=["locked", "stale"])
async def test_a_decision_on_what_was_read(database: Database, monkeypatch: pytest.MonkeyPatch, stale: bool) -> None:
    """The worker ends the job just before it is taken from it; where that is locked, it waits, and nobody deadlocks."""
    async with on(database) as scene:
        async def carry_out(publishing: bool, retention: Retention, _: Set[str], connection: AsyncConnection) -> Plan:
            plan = Plan.of(map(due_job, await connection.execute(protocol.due(100, publishing))), retention)
            if stale:
                await connection.exec_driver_sql("COMMIT")
            if plan.recall and not late.go_on.is_set():
                late.go_on.set()
                if stale:
                    assert await end is State.SUCCEEDED
                else:
                    await waits_for_a_lock(database, "succeeded")
            for statement in plan.statements():
                await connection.execute(statement)
            return plan

        new = scene.job()
        await scene.post(new)
        late = scene.attempt(new.id, 1, Late)
        end = asyncio.ensure_future(asyncio.to_thread(late.run))
        await asyncio.to_thread(late.at_its_end.wait, 30)
        monkeypatch.setattr(relay, "_carry_out", carry_out)
        scene.lapse(new.id)
        await scene.settle()
        assert await end is (State.SUCCEEDED if stale else None)
        found, books = broken(read(database), scene.answers), read(database)
    assert (len(books.effects[new.id]) == 4) == stale
    assert any("went from succeeded to queued" in what for what in found) == bool(found) == stale, found


async def waits_for_a_lock(database: Database, state: str) -> None:
    """Return once an update to that state of a job has begun, and has not ended."""
    found = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE %s AND id <> CONNECTION_ID()"
    deadline = time.monotonic() + 30
    with connect(database.url) as connection, connection.cursor() as cursor:
        while True:
            cursor.execute(found, [f"UPDATE jobs %SET %state='{state}'%"])
            if cursor.fetchone()[0]:
                return
            assert time.monotonic() < deadline, "nothing waits"
            await asyncio.sleep(0.01)
