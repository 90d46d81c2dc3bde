"""A database that is frozen, and a broker that is down: what clients of jobs see of it."""

import asyncio
import statistics
import time
from contextlib import aclosing

import pytest

from tests.bridge.conftest import until
from tests.conftest import connect
from tests.faults.figures import Figures
from tests.faults.jobs.client import Client, Event, Reply, body
from tests.faults.jobs.stack import Stack
from tests.http import fetch

pytestmark = [pytest.mark.gen_test(timeout=600), pytest.mark.timeout(600)]

_RATE = 20.0  # requests a second
_BUSY = 10.0  # seconds that a busy machine may take longer, in the short run


async def test_a_frozen_database_is_503_in_time_and_nobody_hangs(stack: Stack, scale: float, figures: Figures) -> None:
    frozen, database, client = 30.0 * scale or 4.0, stack.database.process, Client(stack.urls)
    async with client.pulse() as calm:
        before = await _volley(client, "before", frozen)
    assert {reply.code for reply in before.values()} == {202}
    job = body(countdown=frozen + 1)
    waited = (await client.post(job, "waited")).document
    waits = {
        client.get(waited["id"], wait=frozen / 2): frozen / 2,
        client.get(waited["id"], wait=30): 30,
        client.get(waited["id"], wait=30, etag=(await client.get(waited["id"])).etag): 30,
        client.post(job, "waited", wait=30): 30,
    }
    waiting = [asyncio.ensure_future(wait) for wait in waits]
    watching = asyncio.ensure_future(_last(client, waited["id"]))
    await asyncio.sleep(0.5)

    freezing = asyncio.ensure_future(stack.freeze(database, frozen))
    await asyncio.sleep(0)
    async with client.pulse() as beats:
        during = await _volley(client, "during", frozen - 2.5)  # whoever comes later may get a job
    await freezing
    thawed = time.monotonic()
    # With the same keys: whatever has come of the first requests, there is one job for each.
    again = await asyncio.gather(*(_accepted(client, key) for key in during))
    good = time.monotonic() - thawed
    replies = await asyncio.wait_for(asyncio.gather(*waiting), 60)
    last = await asyncio.wait_for(watching, 60)
    await until(lambda: stack.journal.unfinished() == 0, 120)

    slowest = max(reply.seconds for reply in during.values())
    late = max(reply.seconds - wait for reply, wait in zip(replies, waits.values()))
    figures.remark(
        f"database frozen for {frozen:g} s", refused=len(during), slowest_refusal=slowest, all_accepted_behind=good,
        waiters_late=late, lag=max(beats), lag_before=max(calm),
        beats=len(beats), above_50_ms=_late(beats), above_before=_late(calm),
    )  # fmt: skip
    assert {reply.code for reply in during.values()} == {503}
    assert {reply.document["type"] for reply in during.values()} == {"urn:problem-type:nowait:jobs-unavailable"}
    assert all(reply.code in (200, 202, 304) for reply in replies)
    assert (last.kind, last.job["state"]) == ("done", "succeeded")
    assert _kept(stack, "during") == dict(zip(during, again))
    busy = 0.2 if scale else _BUSY
    assert slowest < 2.0 + busy
    assert late < 2.0 + busy
    # The machine's own pauses are not the server's: one in a hundred, or as many as with a database that answers.
    assert _late(beats) <= (max(0.01 * len(beats), 1.5 * _late(calm)) if scale else len(beats))


async def test_a_broker_that_is_down_is_no_matter_to_those_who_add_jobs(
    stack: Stack, scale: float, figures: Figures
) -> None:
    down = 30.0 * scale or 3.0
    client = Client(stack.urls)
    up = await _volley(client, "up", down)
    await until(lambda: stack.journal.unfinished() == 0, 120)
    stack.broker.process.kill()
    during = await _volley(client, "down", down)
    await stack.restart_broker()
    began = time.monotonic()
    await until(lambda: stack.journal.unfinished() == 0, 180)
    ended = time.monotonic() - began
    for url in stack.urls:
        await until(lambda: fetch(f"{url}/readyz").status == 200)

    ratio = _median(during) / _median(up)
    figures.remark(
        f"broker down for {down:g} s", jobs=len(during), median=_median(during), median_before=_median(up),
        ratio=f"{ratio:.2f}", all_ended_behind=ended,
    )  # fmt: skip
    assert {reply.code for reply in (*up.values(), *during.values())} == {202}
    assert _kept(stack, "down") == {key: reply.document["id"] for key, reply in during.items()}
    assert ratio < (1.5 if scale else 20.0)


async def _volley(client: Client, name: str, seconds: float) -> dict[str, Reply]:
    """Add jobs at a constant rate, answered or not. Returns the answers by key."""
    asking: dict[str, asyncio.Future[Reply]] = {}
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(round(seconds * _RATE)):
        key = f"{name}-{number}"
        asking[key] = asyncio.ensure_future(client.post(body(), key))
        await asyncio.sleep(began + (number + 1) / _RATE - loop.time())
    return dict(zip(asking, await asyncio.gather(*asking.values())))


async def _accepted(client: Client, key: str) -> str:
    """The id of a job, asked for until there is one."""
    while (reply := await client.post(body(), key)).code not in (200, 202):
        assert reply.code in (409, 503), reply
        await asyncio.sleep(0.2)
    return str(reply.document["id"])


async def _last(client: Client, job_id: str) -> Event:
    """The last event of a job, however often its stream ends before."""
    event = None
    while event is None or event.kind != "done":
        async with aclosing(client.events(job_id, None if event is None else event.id)) as events:
            async for event in events:
                pass
    return event


def _late(seconds: list[float]) -> int:
    """How many answers took more than 50 ms that need no work."""
    return sum(each > 0.05 for each in seconds)


def _median(replies: dict[str, Reply]) -> float:
    return statistics.median(reply.seconds for reply in replies.values())


def _kept(stack: Stack, name: str) -> dict[str, str]:
    """Ids by the keys that begin with a name, of jobs that have succeeded with their effects."""
    with connect(stack.database.url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT idempotency_key, id FROM jobs WHERE idempotency_key LIKE %s AND state = 'succeeded'"
            " AND (SELECT COUNT(*) FROM effects WHERE job = id) = 2",
            [f"{name}-%"],
        )
        return dict(cursor.fetchall())
