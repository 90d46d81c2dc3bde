"""Jobs while everything that they stand on is killed, frozen and cut off: each ends once, with its effects once."""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.bridge.conftest import until
from tests.conftest import Start
from tests.faults.figures import Figures
from tests.faults.jobs.clients import Clients
from tests.faults.jobs.invariants import broken, tally
from tests.faults.jobs.stack import Stack

pytestmark = [pytest.mark.gen_test(timeout=3600), pytest.mark.timeout(3600)]

_ENDED = 180.0  # seconds behind the last fault
# Name: how often in full, what it does.
Fault = Callable[[Stack, random.Random], Awaitable[None]]
FAULTS: dict[str, tuple[int, Fault]] = {
    "broker killed": (5, lambda stack, draw: stack.restart_broker()),
    "worker killed": (5, lambda stack, draw: stack.restart_worker(draw.randrange(len(stack.workers)))),
    "server killed": (3, lambda stack, draw: stack.restart_server(draw.randrange(len(stack.servers)))),
    "database killed": (2, lambda stack, draw: stack.restart_database()),
    "alarm": (1, lambda stack, draw: stack.alarm(5)),
    "black hole": (1, lambda stack, draw: stack.black_hole(8)),
    "worker frozen beyond its lease": (1, lambda stack, draw: stack.freeze(stack.workers[1], 17)),
}


async def test_jobs_end_once_and_have_their_effects_once_whatever_is_killed(
    tmp_path: Path, start: Start, scale: float, figures: Figures, fresh_database: str | None
) -> None:
    seed = int(os.environ.get("NOWAIT_TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"NOWAIT_TEST_SEED={seed}")
    draw = random.Random(seed)
    names = [name for name, (times, _) in FAULTS.items() for _ in range(round(times * scale) or 1)]
    if fresh_database is not None:
        names = [name for name in names if name != "database killed"]
    draw.shuffle(names)
    stack = Stack(tmp_path, start, database_url=fresh_database)
    try:
        await stack.begin()
        clients = Clients(stack.urls, seed, rate=200.0 if scale else 20.0)
        faults = asyncio.ensure_future(_carry_out(names, stack, draw))
        jobs = await clients.run(round(10_000 * scale) or 400, faults)
        last = await faults
        await until(lambda: stack.journal.unfinished() == 0, _ENDED)
        ended = time.monotonic() - last
        books = stack.journal.read()
    finally:
        await stack.end()
    figures.remark(
        f"{jobs} jobs, {len(names)} faults, seed {seed}", ended=ended, **tally(books),
        posts=clients.statuses, unknown=clients.answers.unknown, cancelled_by_clients=len(clients.answers.cancelled),
    )  # fmt: skip
    assert broken(books, clients.answers, database_lost=True) == []
    assert jobs - clients.answers.unknown <= len(books.rows) <= jobs


async def _carry_out(names: list[str], stack: Stack, draw: random.Random) -> float:
    """One fault after the other; returns when the last one was over, by time.monotonic()."""
    await asyncio.sleep(3)
    for name in names:
        await FAULTS[name][1](stack, draw)
        await asyncio.sleep(draw.random() * 2)
    return time.monotonic()
