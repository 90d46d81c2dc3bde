"""Clients that wait for jobs: how long for a short one, and what readers have at the end that come and go."""

import asyncio
import random
import statistics
import time
from collections import Counter
from contextlib import aclosing

import pytest

from tests.faults.figures import Figures
from tests.faults.jobs.client import Client, Event, body
from tests.faults.jobs.stack import Stack

pytestmark = [pytest.mark.gen_test(timeout=600), pytest.mark.timeout(600)]

_STEPS = 20


async def test_who_waits_for_a_short_job_has_its_result_at_once(stack: Stack, scale: float, figures: Figures) -> None:
    client, taken = Client(stack.urls), []
    for _ in range(round(100 * scale) or 20):
        reply = await client.post(body(seconds=0.01), wait=5)
        assert (reply.code, reply.document["state"], reply.document["result"]) == (200, "succeeded", 1)
        taken.append(reply.seconds)
    median = statistics.median(taken)
    figures.remark(
        f"Prefer: wait=5 for a job of 10 ms, {len(taken)} in turn", p50_ms=f"{median * 1000:.1f}", longest=max(taken)
    )
    assert median < (0.03 if scale else 5.0)


async def test_readers_that_come_and_go_have_the_row_at_the_end(stack: Stack, scale: float, figures: Figures) -> None:
    readers, jobs, pause = (round(500 * scale), 10, 1.2) if scale else (50, 5, 0.2)
    client = Client(stack.urls)
    request = {"name": "slow_count", "parameters": {"steps": _STEPS, "pause": pause}}
    ids = [(await client.post(request)).document["id"] for _ in range(jobs)]
    began = time.monotonic()
    read = [asyncio.ensure_future(_read(client, ids[number % jobs], _STEPS * pause / 5)) for number in range(readers)]
    found = await asyncio.wait_for(asyncio.gather(*read), 300)
    for number, (last, _) in enumerate(found):
        row = (await client.get(ids[number % jobs])).document
        assert last.kind == "done" and last.job == row
        assert (row["state"], row["result"], row["progress"]) == (
            "succeeded", _STEPS, {"step": _STEPS, "steps": _STEPS}
        )  # fmt: skip
    streams = Counter({status: client.statuses[status] for status in (200, 204, 503)})
    figures.remark(
        f"{readers} readers of {jobs} jobs that come and go", came=sum(times for _, times in found), answers=streams,
        took=time.monotonic() - began,
    )  # fmt: skip


async def _read(client: Client, job_id: str, longest: float) -> tuple[Event, int]:
    """Read the events of a job, leaving at random and coming again with the id of the last one, or as a new reader.

    Returns the last event, and how often it came.
    """
    event, times = None, 0
    while event is None or event.kind != "done":
        times += 1
        last = event.id if event is not None and random.random() < 0.8 else None
        async with aclosing(client.events(job_id, last)) as events:
            deadline = asyncio.get_running_loop().time() + random.random() * longest
            while (left := deadline - asyncio.get_running_loop().time()) > 0:
                try:
                    event = await asyncio.wait_for(anext(events), left)
                except asyncio.TimeoutError:
                    break
                except StopAsyncIteration:
                    break
        await asyncio.sleep(random.random() * longest / 10)
    return event, times
