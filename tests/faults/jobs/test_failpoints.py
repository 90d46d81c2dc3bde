"""Jobs while servers, relays and workers are lost at each point of a job's life: each ends once, with its effects once.

Leases, heartbeats and messages have the times of `tests.faults.jobs.short`.
"""

import asyncio
import os
import random
import time
from pathlib import Path

import pytest

from tests.bridge.conftest import until
from tests.conftest import Start
from tests.faults.figures import Figures
from tests.faults.jobs.clients import Clients
from tests.faults.jobs.failpoints import ALL, PROBABILITIES, USUAL, Failpoints
from tests.faults.jobs.invariants import broken, tally
from tests.faults.jobs.short import TIMES
from tests.faults.jobs.stack import Stack

pytestmark = [pytest.mark.gen_test(timeout=7200), pytest.mark.timeout(7200)]

_PUBLISHED = 10.0  # seconds behind the last kill until all is published that was due
_ENDED = 180.0  # seconds behind it until all jobs have ended
PROGRAMS = ("tests.faults.jobs.server", "tests.faults.jobs.worker")
# A database's own defaults: REPEATABLE READ is MariaDB's and MySQL's, the other MariaDB's from 11.6.2 on.
DEFAULTS = ("--transaction-isolation=REPEATABLE-READ", "--loose-innodb-snapshot-isolation=ON")


async def test_jobs_end_once_and_have_their_effects_once_wherever_a_process_is_lost(
    tmp_path: Path, start: Start, scale: float, figures: Figures, fresh_database: str | None
) -> None:
    seed = int(os.environ.get("NOWAIT_TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"NOWAIT_TEST_SEED={seed}")
    (tmp_path / "failpoints").mkdir()
    failpoints = Failpoints(tmp_path / "failpoints", seed)
    stack = Stack(
        tmp_path, start, workers=3, options=DEFAULTS, programs=PROGRAMS, settings=failpoints.settings(),
        database_url=fresh_database,
    )  # fmt: skip
    times = round(200 * scale) or 1
    began = time.monotonic()
    try:
        await stack.begin()
        # A tenth of it as long as processes are lost. More than servers that are lost all the time can take would be
        # asked for again and again, and somebody would wait for longer than clients do.
        clients = Clients(stack.urls, seed, rate=80.0)
        losses = asyncio.ensure_future(_lose(failpoints, times, stack))
        jobs = await clients.run(0, losses)
        published = await losses
        await until(lambda: stack.journal.unfinished() == 0, _ENDED)
        books, deadlocks = stack.journal.read(), stack.journal.deadlocks()
    finally:
        await stack.end()
    times_used = ", ".join(f"{name} {seconds:g} s" for name, seconds in TIMES.items())
    figures.remark(
        f"failpoints, {jobs} jobs, seed {seed}, {times_used}", took=time.monotonic() - began,
        due_was_published=published, deadlocks=deadlocks, **tally(books), posts=clients.statuses,
        unknown=clients.answers.unknown,
        **{name.replace(",", ":"): failpoints.bites(name) for name in ALL},
    )  # fmt: skip
    assert broken(books, clients.answers) == []
    assert jobs - clients.answers.unknown <= len(books.rows) <= jobs


async def _lose(failpoints: Failpoints, times: int, stack: Stack) -> float:
    """Lose processes at all points; returns the seconds until all that was due then was published."""
    # Once each, they should not take long to come; very often, jobs should come by between two.
    failpoints.order({name: PROBABILITIES.get(name, USUAL) if times > 1 else 0.3 for name in ALL}, times)
    await until(lambda: all(failpoints.bites(name) >= times for name in ALL), 7200.0)
    moment, over = stack.journal.now(), time.monotonic()
    await until(lambda: not stack.journal.overdue(moment), _PUBLISHED)
    return time.monotonic() - over
