"""One key many times at once, by two servers: one job."""

import asyncio
from collections import Counter

import pytest

from tests.bridge.conftest import until
from tests.conftest import connect
from tests.faults.figures import Figures
from tests.faults.jobs.client import Client, body
from tests.faults.jobs.stack import Stack

pytestmark = [pytest.mark.gen_test(timeout=1800), pytest.mark.timeout(1800)]


async def test_one_key_many_times_at_once_is_one_job(stack: Stack, scale: float, figures: Figures) -> None:
    keys, times = (round(1000 * scale), 100) if scale else (50, 20)
    client = Client(stack.urls)
    names = [f"one-{number}" for number in range(keys)]
    found: dict[str, str] = {}
    for name in names:
        replies = await asyncio.gather(*(client.post(body(), name) for _ in range(times)))
        # 409: the first one's row is not committed yet; the client comes again.
        again = [reply for reply in replies if reply.code == 409]
        replies += await asyncio.gather(*(client.post(body(), name) for _ in again))
        ids = {reply.document["id"] for reply in replies if reply.code != 409}
        assert len(ids) == 1
        found[name] = ids.pop()
    accepted = Counter(client.statuses)
    assert set(accepted) <= {200, 202, 409}
    # Another request, while the job waits, runs or has ended.
    others = [await client.post(body(countdown=1), name) for name in names]
    assert {reply.code for reply in others} == {422}
    with connect(stack.database.url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT idempotency_key, id FROM jobs WHERE idempotency_key LIKE 'one-%'")
        rows = cursor.fetchall()
    assert len(rows) == keys
    assert dict(rows) == found
    await until(lambda: stack.journal.unfinished() == 0, 180)
    books = stack.journal.read()
    assert all(books.rows[job_id].state == "succeeded" for job_id in found.values())
    assert all(books.effects[job_id] == [1, 1] for job_id in found.values())
    figures.remark(f"{keys} keys, {times} times at once", posts=accepted)
