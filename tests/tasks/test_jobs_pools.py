"""Jobs by real workers, in every pool."""

import asyncio
import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from nowait import Bridge
from nowait.jobs import protocol
from tests.bridge.conftest import running, until
from tests.conftest import Start, celery_worker, printed
from tests.tasks.jobs import Table

QUEUE = "queries.jobs"


@pytest.fixture
def settings(vhost: str, database_url: str) -> dict[str, Any]:
    """Those of a worker with a broker and a database of its own."""
    return {"broker_url": vhost, "database_url": database_url}


@pytest.fixture(autouse=True)
def visits(table: Table) -> Iterator[None]:
    """Has the sample's figures be what they were."""
    (before,) = table.execute("SELECT visits FROM users WHERE id = 3")
    yield
    table.execute(f"UPDATE users SET visits = {before} WHERE id = 3")


async def send(bridge: Bridge, job_id: str, attempt: int = 1) -> Any:
    """The state in which the job is behind an attempt."""
    return await bridge.send_task("task.run_job", [job_id, attempt], queue=QUEUE, timeout=60)


@pytest.mark.gen_test(timeout=110)
@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent", "solo"])
async def test_a_pool_runs_jobs(vhost: str, settings: dict[str, Any], table: Table, start: Start, pool: str) -> None:
    concurrency = 1 if pool == "solo" else 4
    options = ("-P", pool, "-c", str(concurrency), "-Q", QUEUE, "--include", "tests.tasks.own_jobs")
    worker = celery_worker(start, "tasks", *options, **settings)
    async with running(vhost) as bridge:
        listed = await bridge.send_task("task.list_jobs", queue="queries.catalogue", timeout=60)
        assert {job["name"]: job["once"] for job in listed} == {
            "slow_count": True, "add_visit": True, "own": True, "own.slow": True, "own.task": False,
        }  # fmt: skip

        counts = [table.add("slow_count", parameters={"steps": 2, "pause": 0.05}) for _ in range(2 * concurrency)]
        assert set(await asyncio.gather(*(send(bridge, job_id) for job_id in counts))) == {"succeeded"}
        assert {table.row(job_id).result for job_id in counts} == {"2"}
        assert [await send(bridge, job_id) for job_id in counts] == [None] * len(counts), "they came again"

        visits = [table.add("add_visit", parameters={"user": 3}) for _ in range(2 * concurrency)]
        assert set(await asyncio.gather(*(send(bridge, job_id) for job_id in visits))) == {"succeeded"}
        numbers = sorted(json.loads(table.row(job_id).result) for job_id in visits)
        assert numbers == list(range(numbers[0], numbers[0] + len(visits))), "each has added one"

        assert await send(bridge, table.add("nothing")) == "failed"
        for name in ("own", "own.task"):
            job_id = table.add(name, parameters={"text": "one"})
            assert await send(bridge, job_id) == "succeeded"
            assert table.row(job_id).result == '"one one"'

        long = table.add("slow_count", parameters={"steps": 1000, "pause": 0.1})
        call = asyncio.ensure_future(send(bridge, long))
        await until(lambda: (table.row(long).progress or {}).get("step", 0) > 1)
        table.cancel(long)
        assert await call is None
        assert table.row(long).state == "cancelled"
    worker.kill()


@pytest.mark.gen_test(timeout=110)
async def test_a_worker_that_was_frozen_has_no_effects_when_another_has_its_job(
    vhost: str, settings: dict[str, Any], table: Table, start: Start
) -> None:
    options = ("-P", "threads", "-c", "2", "-Q", QUEUE, "--include", "tests.tasks.own_jobs")
    worker = celery_worker(start, "tasks", *options, **settings)
    async with running(vhost) as bridge:
        job_id = table.add("own.slow")
        call = asyncio.ensure_future(send(bridge, job_id))
        await until(lambda: table.row(job_id).progress == "half")
        worker.signal(signal.SIGSTOP)
        table.take_over(job_id)
        worker.signal(signal.SIGCONT)
        assert await call is None
        row = table.row(job_id)
        assert (row.state, row.attempt, row.worker, row.progress) == ("running", 2, "another", None)
        assert table.effects(job_id) == []
    worker.kill()


@pytest.mark.gen_test(timeout=110)
@pytest.mark.parametrize("pool", ["prefork", "threads"])
async def test_a_job_keeps_its_lease_while_its_worker_shuts_down(
    vhost: str, settings: dict[str, Any], table: Table, start: Start, pool: str
) -> None:
    worker = celery_worker(start, "tasks", "-P", pool, "-c", "2", "-Q", QUEUE, **settings)
    async with running(vhost) as bridge:
        job_id = table.add("slow_count", parameters={"steps": 10, "pause": 0.8})
        call = asyncio.ensure_future(send(bridge, job_id))
        await until(lambda: table.row(job_id).progress is not None)
        worker.signal(signal.SIGTERM)
        dues = set()

        def lives() -> bool:
            dues.add(table.row(job_id).due)
            return len(dues) < 4

        await until(lambda: not lives())
        assert await call == "succeeded"
        assert table.row(job_id).result == "10"
    await until(lambda: worker.returncode is not None)


@pytest.mark.gen_test(timeout=110)
async def test_the_jobs_of_a_worker_that_is_killed_are_left_to_their_leases(
    vhost: str, settings: dict[str, Any], table: Table, start: Start
) -> None:
    workers = [celery_worker(start, "tasks", "-P", "threads", "-c", "2", "-Q", QUEUE, **settings) for _ in range(2)]
    async with running(vhost) as bridge:
        job_id = table.add("slow_count", parameters={"steps": 20, "pause": 0.1})
        lost = asyncio.ensure_future(send(bridge, job_id))
        await until(lambda: table.row(job_id).progress is not None)
        name = table.row(job_id).worker
        (victim,) = [worker for worker in workers if name in printed(worker)]
        victim.kill()
        # The message goes to the other worker, which finds that the job runs.
        assert await lost is None
        assert (table.row(job_id).state, table.row(job_id).attempt) == ("running", 1)
        table.execute(protocol.recall(job_id, 0))
        assert await send(bridge, job_id, 2) == "succeeded"
        assert table.row(job_id).attempt == 2
    for worker in workers:
        worker.kill()
