"""How soon a job whose worker is lost has another, and how soon nothing is left of one that is cancelled."""

import random
import time
from typing import Any

import pytest

from tests.bridge.conftest import until
from tests.conftest import connect, printed
from tests.faults.figures import Figures
from tests.faults.jobs.client import Client, body
from tests.faults.jobs.stack import Stack

pytestmark = [pytest.mark.gen_test(timeout=600), pytest.mark.timeout(600)]

_OWN = 1.0  # seconds that the job takes
_BUSY = 60.0  # seconds in place of a bound, in the short run


async def test_another_worker_takes_over_from_one_that_is_killed(stack: Stack, scale: float, figures: Figures) -> None:
    client, slowest = Client(stack.urls), 0.0
    for _ in range(round(5 * scale) or 1):
        job_id = (await client.post(body(seconds=_OWN))).document["id"]
        await until(lambda: _running(stack, job_id) is not None)
        first = _running(stack, job_id)
        (number,) = (n for n, worker in enumerate(stack.workers) if first is not None and first in printed(worker))
        stack.workers[number].kill()
        killed = time.monotonic()
        job = await client.ended(job_id, 60)
        slowest = max(slowest, time.monotonic() - killed - _OWN)
        await stack.restart_worker(number)
        assert (job["state"], job["attempt"]) == ("succeeded", 2)
        assert stack.journal.read().effects[job_id] == [2, 2]
    figures.remark("worker killed in its job", takeover=slowest)
    assert slowest < (16.0 if scale else _BUSY)


async def test_the_statement_of_a_job_that_is_cancelled_ends(stack: Stack, scale: float, figures: Figures) -> None:
    client, slowest = Client(stack.urls), 0.0
    for _ in range(round(20 * scale) or 2):
        seconds = 60 + random.randrange(10**6) / 10**6
        job_id = (await client.post(body(seconds=seconds))).document["id"]
        await until(lambda: _sleeps(stack, seconds))
        began = time.monotonic()
        assert (await client.cancel(job_id)).code == 200
        await until(lambda: not _sleeps(stack, seconds))
        slowest = max(slowest, time.monotonic() - began)
        books = stack.journal.read()
        assert (books.rows[job_id].state, books.effects.get(job_id)) == ("cancelled", None)
    figures.remark("running statement of a job cancelled", gone_behind=slowest)
    assert slowest < (4.0 if scale else _BUSY)


def _running(stack: Stack, job_id: str) -> str | None:
    """The name of the worker that runs a job."""
    found = _first(stack, "SELECT worker FROM jobs WHERE id = %s AND state = 'running'", job_id)
    return None if found is None else str(found)


def _sleeps(stack: Stack, seconds: float) -> bool:
    """True while a statement of so many seconds runs in the database."""
    listed = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE %s AND id <> CONNECTION_ID()"
    return bool(_first(stack, listed, f"SELECT SLEEP({seconds!r}%"))


def _first(stack: Stack, statement: str, value: str) -> Any:
    with connect(stack.database.url) as connection, connection.cursor() as cursor:
        cursor.execute(statement, [value])
        row = cursor.fetchone()
    return None if row is None else row[0]
