"""The relay and the publisher: what is due is looked after, once, whoever else does and whatever fails."""

import asyncio
import dataclasses
import json
import logging
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from math import inf
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from sqlalchemy.ext.asyncio import AsyncConnection

from deploy.local.database import Database
from deploy.local.process import free_port
from nowait.bridge import Call
from nowait.jobs import protocol
from nowait.jobs.schema import MIGRATE
from nowait.jobs.table import Delivery, State
from nowait.testing import FakeBridge
from server.jobs import looks
from server.jobs import relay as relay_module
from server.jobs.connections import Connections
from server.jobs.database import DatabaseStore
from server.jobs.decisions import WORKER_LOST, DueJob, Message, Plan
from server.jobs.publisher import TaskPublisher
from server.jobs.relay import Relay
from tests.bridge.conftest import until
from tests.conftest import Start, connect, printed, ready
from tests.faults.proxy import Proxy
from tests.http import fetch
from tests.server.conftest import Rows, connections, new_job
from tests.system.conftest import wait_until

T = 30.0  # seconds: far more than a call takes
QUEUE = "queries.jobs"
LONG_AGO = datetime(2026, 1, 1)


PUT_OFF = "SELECT COUNT(*) AS jobs FROM jobs WHERE queue = 'nobodys' AND due > UTC_TIMESTAMP(6) + INTERVAL 10 SECOND"

RETENTION = {State.SUCCEEDED: 100.0, State.FAILED: 200.0, State.CANCELLED: inf, State.EXPIRED: 100.0}  # seconds


def due(state: State, attempt: int = 0, failures: int = 0, expired: bool = False, **others: Any) -> DueJob:
    return DueJob("1", QUEUE, state, attempt, failures, others.pop("forgiven", 0), expired, **others)


@pytest.mark.parametrize(
    ("job", "plan"),
    [
        (due(State.QUEUED), Plan(messages=[Message("1", 1, QUEUE)])),
        (due(State.QUEUED, attempt=3, failures=2), Plan(messages=[Message("1", 4, QUEUE)])),
        (due(State.QUEUED, expired=True), Plan(expire=["1"])),
        (due(State.QUEUED, attempt=3, failures=1, expired=True), Plan(expire=["1"])),
        (dataclasses.replace(due(State.QUEUED), queue="full"), Plan(put_off=["1"])),
        (dataclasses.replace(due(State.QUEUED, expired=True), queue="full"), Plan(expire=["1"])),
        (dataclasses.replace(due(State.RUNNING, attempt=1), queue="full"), Plan(recall=[("1", 0.0)])),
        (due(State.RUNNING, attempt=1), Plan(recall=[("1", 0.0)])),
        (due(State.RUNNING, attempt=1, expired=True), Plan(recall=[("1", 0.0)])),
        (due(State.RUNNING, attempt=9, failures=8), Plan(recall=[("1", 0.0)])),
        (due(State.RUNNING, attempt=6), Plan(give_up=["1"])),
        (due(State.RUNNING, attempt=9, failures=3), Plan(give_up=["1"])),
        (due(State.RUNNING, attempt=9, failures=3, forgiven=5), Plan(recall=[("1", 0.0)])),
        (due(State.RUNNING, attempt=14, failures=3, forgiven=5), Plan(give_up=["1"])),
        (due(State.SUCCEEDED, age=99.9), Plan(keep={100.0: ["1"]})),
        (due(State.SUCCEEDED, age=100.0), Plan(prune=["1"])),
        (due(State.FAILED, age=150.0), Plan(keep={200.0: ["1"]})),
        (due(State.FAILED, age=200.0), Plan(prune=["1"])),
        (due(State.CANCELLED, age=1e9), Plan(keep={inf: ["1"]})),
        (due(State.EXPIRED, age=1.0, webhook=True), Plan(deliver=["1"], keep={100.0: ["1"]})),
        (due(State.EXPIRED, age=500.0, webhook=True), Plan(deliver=["1"], keep={100.0: ["1"]})),
        (due(State.EXPIRED, age=1.0, webhook=True, delivery=Delivery.PENDING), Plan(keep={100.0: ["1"]})),
        (due(State.EXPIRED, age=500.0, webhook=True, delivery=Delivery.PENDING), Plan(hold=["1"])),
        (due(State.EXPIRED, age=500.0, webhook=True, delivery=Delivery.FAILED), Plan(prune=["1"])),
        (due(State.EXPIRED, age=500.0, webhook=True, delivery=Delivery.DELIVERED), Plan(prune=["1"])),
    ],
)
def test_what_is_done_about_a_job_that_is_due(job: DueJob, plan: Plan) -> None:
    assert Plan.of([job], RETENTION, {"full"}) == plan


@pytest.mark.parametrize(("lost", "most"), [(2, 2), (3, 4), (4, 8), (5, 16)])
def test_a_job_that_has_lost_workers_waits_longer_and_longer(lost: int, most: float) -> None:
    ((_, seconds),) = Plan.of([due(State.RUNNING, attempt=lost + 2, failures=2)], RETENTION).recall
    assert most / 2 <= seconds <= most


def test_a_plan_has_a_statement_for_all_that_is_to_be_done_alike() -> None:
    jobs = [due(State.QUEUED), due(State.SUCCEEDED, age=5.0, webhook=True), due(State.QUEUED, expired=True)]
    plan = Plan.of(jobs * 5, RETENTION)
    assert len(plan.statements()) == 4
    assert plan.size == 15
    assert not plan.urgent
    assert Plan.of([due(State.RUNNING, attempt=1)], RETENTION).urgent
    assert not Plan.of([due(State.RUNNING, attempt=2)], RETENTION).urgent


def bridge(*queues: str, **tasks: Any) -> FakeBridge:
    return FakeBridge({f"task.{name}": task for name, task in tasks.items()}, queues=queues or [QUEUE])


def sent(tasks: FakeBridge) -> list[tuple[str, int]]:
    """The messages that the bridge has taken: ids of jobs, and attempts."""
    assert all(name == "task.run_job" for name, _, _ in tasks.sent)
    return [(args[0], args[1]) for _, args, _ in tasks.sent]


def relay(opened: Connections, publisher: TaskPublisher) -> Relay:
    return Relay(opened, publisher, RETENTION, lambda: None)


@asynccontextmanager
async def relaying(*relays: Relay) -> AsyncIterator[None]:
    """Has relays run while the block does."""
    running = [asyncio.create_task(each.run()) for each in relays]
    try:
        yield
        assert not any(task.done() for task in running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)


@pytest.mark.gen_test
async def test_a_job_that_was_not_sent_is_and_is_left_alone_once_the_broker_has_it(
    database_url: str, rows: Rows
) -> None:
    job_id, retried = rows.add(), rows.add(attempt=2, failures=2)
    not_yet = rows.add(due_in=60)
    tasks = bridge()
    async with connections(database_url) as opened, relaying(relay(opened, TaskPublisher(tasks))):
        await until(lambda: rows[job_id]["due_in"] > 500 and rows[retried]["due_in"] > 500)
    assert sorted(sent(tasks)) == sorted([(job_id, 1), (retried, 3)])
    assert rows[not_yet]["due_in"] < 61
    assert rows[job_id]["version"] == 0  # nothing that a client sees


@pytest.mark.gen_test
async def test_a_message_that_the_broker_does_not_take_is_sent_again(database_url: str, rows: Rows) -> None:
    job_id = rows.add()
    tasks = bridge("another")
    async with connections(database_url) as opened, relaying(relay(opened, TaskPublisher(tasks))):
        await until(lambda: 0 < rows[job_id]["due_in"] <= 5)
        assert sent(tasks) == []
        tasks._queues = [QUEUE]
        rows.run("UPDATE jobs SET due = UTC_TIMESTAMP(6)")
        await until(lambda: sent(tasks) == [(job_id, 1)])


@pytest.mark.gen_test
async def test_jobs_of_a_queue_that_takes_no_messages_are_in_nobodys_way(database_url: str, rows: Rows) -> None:
    for _ in range(350):
        rows.add(queue="nobodys", due_in=-120)
    lost, waiting = rows.add(state="running", attempt=1), rows.add()
    tasks = bridge()
    async with connections(database_url) as opened, relaying(relay(opened, TaskPublisher(tasks))):
        await until(lambda: len(tasks.sent) == 2)
        assert Counter(sent(tasks)) == Counter([(lost, 2), (waiting, 1)])
        # Behind the first batch for that queue, all others that are full are put off.
        assert rows.run(PUT_OFF) == [{"jobs": 200}]


@pytest.mark.gen_test
async def test_a_job_that_waits_for_long_expires_in_time(database_url: str, rows: Rows) -> None:
    lost, retried = rows.add(state="running", attempt=5), rows.add(state="running", attempt=1, due_in=60)
    put_off = [rows.add(queue="nobodys", due_in=-120) for _ in range(150)][-1]
    rows.run("UPDATE jobs SET expires = TIMESTAMPADD(SECOND, 3, UTC_TIMESTAMP(6))")

    async def retry(connection: AsyncConnection) -> None:
        await connection.execute(*protocol.retry(retried, 1, 3600.0, "task-failed"))

    async with connections(database_url) as opened:
        await opened.transaction(retry, 5.0)
        async with relaying(relay(opened, TaskPublisher(bridge()))):
            await until(lambda: all(rows[job_id]["state"] == "expired" for job_id in (lost, retried, put_off)))


@pytest.mark.gen_test
async def test_without_a_broker_all_but_messages_goes_on(database_url: str, rows: Rows) -> None:
    waiting = [rows.add(due_in=-120) for _ in range(150)]  # more than one batch, in front of all others
    expired = rows.add()
    rows.run("UPDATE jobs SET expires = UTC_TIMESTAMP(6) WHERE id = %s", expired)
    lost, old = rows.add(state="running", attempt=1), rows.add(state="succeeded", finished=LONG_AGO)
    tasks = bridge()
    tasks.state = "connecting"
    async with connections(database_url) as opened, relaying(relay(opened, TaskPublisher(tasks))):
        await until(lambda: rows[expired]["state"] == "expired" and rows[lost]["state"] == "queued")
        await until(lambda: not rows.run("SELECT 1 FROM jobs WHERE id = %s", old))
        assert all(rows[job_id]["due_in"] < 0 for job_id in waiting)
        tasks.state = "connected"
        await until(lambda: len(tasks.sent) == 151)
    assert Counter(sent(tasks)) == Counter([(job_id, 1) for job_id in waiting] + [(lost, 2)])
    assert rows[expired]["finished"] is not None and 3500 < rows[expired]["due_in"] <= 3600


@pytest.mark.gen_test
async def test_two_relays_send_each_message_once(database_url: str, rows: Rows) -> None:
    ids = [rows.add() for _ in range(1000)]
    one, two = bridge(), bridge()
    async with connections(database_url) as here, connections(database_url) as there:
        async with relaying(relay(here, TaskPublisher(one)), relay(there, TaskPublisher(two))):
            unconfirmed = "SELECT 1 FROM jobs WHERE due < TIMESTAMPADD(MINUTE, 5, UTC_TIMESTAMP(6)) LIMIT 1"
            await until(lambda: not rows.run(unconfirmed))
    assert Counter(sent(one) + sent(two)) == Counter((job_id, 1) for job_id in ids)
    assert sent(one) and sent(two)


@pytest.mark.gen_test
async def test_a_job_whose_worker_is_lost_is_sent_again_at_once(database_url: str, rows: Rows) -> None:
    job_id = rows.add(state="running", attempt=3, failures=2, worker="gone")
    alive = rows.add(state="running", attempt=1, due_in=10)
    tasks = bridge()
    async with connections(database_url) as opened, relaying(relay(opened, TaskPublisher(tasks))):
        await until(lambda: sent(tasks) == [(job_id, 4)])
    row = rows[job_id]
    assert (row["state"], row["attempt"], row["failures"]) == ("queued", 3, 2)
    (lost,) = json.loads(row["history"])
    assert (lost["attempt"], lost["worker"], lost["started"], lost["reason"]) == (3, "gone", None, "lost")
    assert row["version"] == 1
    assert rows[alive]["state"] == "running"


@pytest.mark.gen_test
async def test_a_job_that_loses_one_worker_after_the_other_waits_and_is_given_up(database_url: str, rows: Rows) -> None:
    again = rows.add(state="running", attempt=5)
    too_often = rows.add(state="running", attempt=6)
    tasks = bridge()
    async with connections(database_url) as opened, relaying(relay(opened, TaskPublisher(tasks))):
        await until(lambda: rows[too_often]["state"] == "failed" and rows[again]["state"] == "queued")
    assert 5 < rows[again]["due_in"] <= 16
    assert rows[again]["eta"] == rows[again]["due"]
    error, history = (json.loads(rows[too_often][column]) for column in ("error", "history"))
    assert error == WORKER_LOST
    assert error["type"].endswith(f":{history[-1]['reason']}") and "status" not in error
    assert sent(tasks) == []


@pytest.mark.gen_test
async def test_what_is_old_is_deleted_however_much_it_is(database_url: str, rows: Rows) -> None:
    kept = rows.add(state="succeeded", due_in=60)
    for _ in range(350):
        rows.add(state="failed", finished=LONG_AGO)
    async with connections(database_url) as opened, relaying(relay(opened, TaskPublisher(bridge()))):
        await until(lambda: [row["id"] for row in rows.run("SELECT id FROM jobs")] == [kept])


@pytest.mark.gen_test
async def test_a_job_that_somebody_works_on_is_left_alone(database_url: str, rows: Rows) -> None:
    finishing, other = rows.add(state="running", attempt=1, due_in=-90), rows.add()
    tasks = bridge()
    with connect(database_url) as worker:
        worker.begin()
        worker.cursor().execute("UPDATE jobs SET state = 'succeeded' WHERE id = %s", [finishing])
        async with connections(database_url) as opened, relaying(relay(opened, TaskPublisher(tasks))):
            await until(lambda: sent(tasks) == [(other, 1)])
            assert rows[finishing]["state"] == "running"
            worker.cursor().execute(
                "UPDATE jobs SET due = TIMESTAMPADD(DAY, 7, UTC_TIMESTAMP(6)) WHERE id = %s", [finishing]
            )
            worker.commit()
            await two_looks()
            assert rows[finishing]["state"] == "succeeded"
    assert sent(tasks) == [(other, 1)]


async def two_looks() -> None:
    """Wait while a relay looks twice at what is due."""
    await asyncio.sleep(2 * relay_module._INTERVAL * 1.2)


@pytest.mark.gen_test
async def test_jobs_are_added_claimed_and_kept_while_a_relay_has_rows_locked(database_url: str, rows: Rows) -> None:
    for _ in range(10):
        rows.add()
    rows.add(due_in=2)  # where the search for what is due ends: locked, too
    running, next_due = rows.add(state="running", attempt=1, due_in=10), rows.add(due_in=5)
    async with connections(database_url) as opened:

        async def looks(connection: Any) -> None:
            assert len((await connection.execute(protocol.due(100))).all()) == 10
            await DatabaseStore(opened, 1000).add(new_job(), T)
            await DatabaseStore(opened, 1000).add(new_job(countdown=60), T)
            rows.run("UPDATE jobs SET due = TIMESTAMPADD(SECOND, 15, UTC_TIMESTAMP(6)) WHERE id = %s", running)
            rows.run("UPDATE jobs SET state = 'running', due = UTC_TIMESTAMP(6) WHERE id = %s", next_due)

        await opened.transaction(looks, T)


@pytest.mark.gen_test
async def test_a_late_confirm_leaves_a_job_alone_that_has_gone_on(database_url: str, rows: Rows) -> None:
    retried = rows.add(attempt=1, failures=1, due_in=30)
    running = rows.add(state="running", attempt=1, due_in=15)
    ended = rows.add(state="succeeded", attempt=1, due_in=86400)
    waiting = rows.add(due_in=5)
    expires = rows.add(due_in=5)
    rows.run("UPDATE jobs SET expires = TIMESTAMPADD(SECOND, 60, UTC_TIMESTAMP(6)) WHERE id = %s", expires)
    before = {job_id: rows[job_id]["due"] for job_id in (retried, running, ended)}
    tasks = bridge()
    publisher = TaskPublisher(tasks)
    for job_id in (retried, running, ended, waiting, expires):
        await publisher.publish(Message(job_id, 1, QUEUE))
    async with connections(database_url) as opened, relaying(relay(opened, publisher)):
        await until(lambda: rows[waiting]["due_in"] > 500)
        assert rows[expires]["due"] == rows[expires]["expires"]
    assert before == {job_id: rows[job_id]["due"] for job_id in before}


@pytest.mark.gen_test
async def test_nothing_is_sent_that_was_not_committed(
    database_url: str, private_database: Database, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "_TIMEOUT", 0.3)
    job_id = rows.add()
    tasks = bridge()
    async with Proxy(private_database.port) as proxy:
        url = database_url.replace(f":{private_database.port}/", f":{proxy.port}/")
        async with connections(url) as opened:
            await DatabaseStore(opened, 1).get("", "", T)
            proxy.silent_at = b"UPDATE"
            async with relaying(relay(opened, TaskPublisher(tasks))):
                await until(lambda: proxy.stalled)
                proxy.silent_at = None
                assert sent(tasks) == []
                proxy.accept()
                await until(lambda: sent(tasks) == [(job_id, 1)])


@pytest.mark.gen_test
async def test_a_database_that_goes_and_comes_back_is_logged_once_each(
    database_url: str,
    private_database: Database,
    rows: Rows,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(looks, "_LONGEST", 0.2)
    caplog.set_level(logging.INFO, "server")
    tasks = bridge()
    async with Proxy(private_database.port) as proxy:
        url = database_url.replace(f":{private_database.port}/", f":{proxy.port}/")
        async with connections(url) as opened:
            each = relay(opened, TaskPublisher(tasks))
            async with relaying(each):
                first = rows.add()
                await until(lambda: (first, 1) in sent(tasks))
                proxy.hang_up(refuse=True)
                await until(lambda: each._looks._failed > 3)
                second = rows.add()
                proxy.accept()
                await until(lambda: (second, 1) in sent(tasks))
                rows.run("RENAME TABLE jobs TO other")
                try:
                    await until(lambda: len(caplog.messages) == 3)
                    await two_looks()
                finally:
                    rows.run("RENAME TABLE other TO jobs")
                await until(lambda: len(caplog.messages) == 4)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"] * 2
    assert caplog.messages[2] == f"no job is looked after: the table of jobs is missing or too old: {MIGRATE}"


@pytest.mark.gen_test
async def test_a_defect_does_not_end_the_relay(
    database_url: str, rows: Rows, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "_LONGEST", 0.2)
    tasks = bridge()
    publisher = TaskPublisher(tasks)
    publish, failed = publisher.publish, []

    def fails(message: Message, wait: float | None = None) -> Call:
        if not failed:
            failed.append(message)
            raise LookupError("a defect")
        return publish(message, wait)

    monkeypatch.setattr(publisher, "publish", fails)
    first = rows.add()
    async with connections(database_url) as opened, relaying(relay(opened, publisher)):
        await until(lambda: bool(failed))
        second = rows.add()
        await until(lambda: sent(tasks) == [(second, 1)])
    assert failed[0].job_id == first
    assert "LookupError" in caplog.text


@pytest.mark.gen_test
async def test_a_relay_that_is_ended_sends_nothing_more_and_leaves_no_lock(database_url: str, rows: Rows) -> None:
    for _ in range(300):
        rows.add()
    tasks = bridge()
    async with connections(database_url) as opened:
        async with relaying(relay(opened, TaskPublisher(tasks))):
            await until(lambda: bool(tasks.sent))
        before = len(tasks.sent)
        await two_looks()
        assert len(tasks.sent) == before
        assert len(rows.run("SELECT id FROM jobs FOR UPDATE NOWAIT")) == 300


@pytest.mark.gen_test
async def test_a_job_is_sent_as_soon_as_it_may_begin(database_url: str) -> None:
    tasks = bridge()
    publisher = TaskPublisher(tasks)
    async with connections(database_url) as opened:
        store = DatabaseStore(opened, 1000)
        now, _ = await store.add(new_job(), T)
        later, _ = await store.add(new_job(countdown=60), T)
        at_once, _ = await store.add(new_job(countdown=0), T)
    assert [publisher.send(job) for job in (now, later, at_once)] == [None] * 3
    assert publisher.send(later, wait=T) is None
    assert sent(tasks) == [(now.id, 1), (at_once.id, 1)]


@pytest.mark.gen_test
@pytest.mark.parametrize("queue", [QUEUE, "nowhere"])
@pytest.mark.parametrize("fails", [False, True])
async def test_who_waits_learns_of_the_end_and_of_nothing_else(database_url: str, queue: str, fails: bool) -> None:
    async def run_job(job_id: str, attempt: int) -> str:
        await asyncio.sleep(0.05)
        if fails:
            raise LookupError("private")
        return "anything"

    publisher = TaskPublisher(bridge(QUEUE, run_job=run_job))
    async with connections(database_url) as opened:
        job, _ = await DatabaseStore(opened, 1000).add(new_job(queue=queue), T)
    end = publisher.send(job, wait=T)
    assert end is not None and end.done() is False
    await end
    left = publisher.send(job, wait=T)  # by one who leaves
    assert left is not None
    left.cancel()
    await until(lambda: not publisher._tasks.in_flight)  # type: ignore[attr-defined]


@pytest.mark.gen_test
async def test_a_message_is_confirmed_before_its_worker_answers() -> None:
    hanging: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run_job(job_id: str, attempt: int) -> None:
        await hanging

    tasks = bridge(QUEUE, run_job=run_job)
    publisher = TaskPublisher(tasks)
    one, two, three, lost = (str(uuid4()) for _ in range(4))
    publisher.publish(Message(one, 1, QUEUE), wait=T)
    publisher.publish(Message(two, 1, QUEUE))
    publisher.publish(Message(three, 2, QUEUE))
    publisher.publish(Message(lost, 1, "nowhere"))
    assert publisher.take_confirmed() == {1: [one, two], 2: [three]}
    assert publisher.take_confirmed() == {}
    late, answered = str(uuid4()), str(uuid4())
    call = publisher.publish(Message(late, 1, QUEUE), wait=T)
    call.confirmed = False
    assert publisher.take_confirmed() == {}
    call.confirmed = True
    assert publisher.take_confirmed() == {1: [late]}
    call = publisher.publish(Message(answered, 1, QUEUE), wait=T)
    hanging.set_result(None)
    await call
    assert publisher.take_confirmed() == {}
    with pytest.raises(Exception, match="deadline"):
        await publisher.publish(Message(late, 7, QUEUE), wait=0.0)
    await tasks.stop()


def test_a_server_sends_what_is_due_until_it_stops(database_url: str, rows: Rows, vhost: str, start: Start) -> None:
    port = free_port()
    server = start("server", "server", port=port, broker_url=vhost, database_url=database_url, shutdown_notice=1)
    ready(server, port)
    app = Celery("worker", broker=vhost, set_as_current=False)
    with app.connection_for_read() as connection:
        queue = app.amqp.queues[QUEUE](connection.default_channel)
        queue.declare()
        job_id = rows.add()
        wait_until(lambda: rows[job_id]["due_in"] > 500)
        (arguments, _, _) = queue.get(no_ack=True).payload
        assert arguments == [job_id, 1]
        server.terminate()
        wait_until(lambda: "stopping" in printed(server))
        late = rows.add()
        wait_until(lambda: server.returncode is not None)
        assert queue.get(no_ack=True) is None
    assert server.returncode == 0
    assert rows[late]["due_in"] < 0
    assert "Traceback" not in printed(server)


def test_a_server_whose_database_is_frozen_stops(
    private_database: Database, rows: Rows, vhost: str, start: Start
) -> None:
    port = free_port()
    server = start("server", "server", port=port, broker_url=vhost, database_url=private_database.url)
    ready(server, port)
    job_id = rows.add(state="running", attempt=1)
    wait_until(lambda: rows[job_id]["state"] == "queued")
    private_database.process.signal(signal.SIGSTOP)
    try:
        wait_until(lambda: "no job is looked after: no answer" in printed(server))
        server.terminate()
        wait_until(lambda: server.returncode is not None)
    finally:
        private_database.process.signal(signal.SIGCONT)
    assert server.returncode == 0
    assert "Traceback" not in printed(server)


def serves_all_else(start: Start, broker_url: str, database_url: str) -> str:
    """Start and stop a server without jobs. Returns what it has logged of them."""
    port = free_port()
    server = start("server", "server", port=port, broker_url=broker_url, database_url=database_url)
    ready(server, port)
    wait_until(lambda: "no job is looked after" in printed(server))
    assert fetch(f"http://127.0.0.1:{port}/i_want_you_now").status == 200
    assert server.stop() == 0
    (line,) = [line for line in printed(server).splitlines() if "server.jobs" in line or "Traceback" in line]
    return line


def test_a_server_without_the_table_serves_all_else(rows: Rows, database_url: str, vhost: str, start: Start) -> None:
    rows.run("RENAME TABLE jobs TO other")
    try:
        line = serves_all_else(start, vhost, database_url)
    finally:
        rows.run("RENAME TABLE other TO jobs")
    assert line.endswith(f"no job is looked after: the table of jobs is missing or too old: {MIGRATE}")


def test_a_server_whose_schema_is_too_old_has_one_line_with_what_to_run(
    rows: Rows, database_url: str, vhost: str, start: Start
) -> None:
    (row,) = rows.run("SELECT version_num FROM nowait_migrations")
    rows.run("UPDATE nowait_migrations SET version_num = '0000'")
    try:
        line = serves_all_else(start, vhost, database_url)
    finally:
        rows.run("UPDATE nowait_migrations SET version_num = %s", row["version_num"])
    assert line.endswith(f"no job is looked after: the schema of jobs is 0000, 0005 is needed: {MIGRATE}")


def test_a_server_without_a_database_serves_all_else(vhost: str, start: Start) -> None:
    line = serves_all_else(start, vhost, f"mysql://user:password@127.0.0.1:{free_port()}/name")
    assert line.endswith("no job is looked after: the database cannot be reached")
