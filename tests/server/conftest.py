"""What the tests of jobs share: stores in a database and in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pymysql
import pytest

from nowait.jobs.retry import Retry
from server.jobs.connections import Connections
from server.jobs.database import DatabaseStore
from server.jobs.model import NewJob, Store
from tests.conftest import connect
from tests.server.fake_jobs import FakePublisher, FakeStore, FakeWorker
from tests.server.jobs_site import DatabaseWorker, Site, Worker, serving
from tests.server.key_files import Keys


@asynccontextmanager
async def connections(url: str, most: int = 10) -> AsyncIterator[Connections]:
    """Connections to a database, closed afterwards."""
    opened = Connections(url, most)
    try:
        yield opened
    finally:
        await opened.close()


def new_job(**values: Any) -> NewJob:
    """A job that nothing is special about, but for these values."""
    usual = dict(id=str(uuid4()), owner="", name="count", queue="queries.jobs", parameters={"n": 1}, retry=Retry())
    return NewJob(**{**usual, **values})


class Rows:
    """The table of jobs, behind the back of the server."""

    def __init__(self, url: str) -> None:
        self._connection = connect(url)

    def close(self) -> None:
        self._connection.close()

    def run(self, statement: str, *values: Any) -> Any:
        """Run a statement, committed at once. Returns its rows as dictionaries."""
        with self._connection.cursor(pymysql.cursors.DictCursor) as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall()

    def __getitem__(self, job_id: str) -> dict[str, Any]:
        """The row of a job; `due_in` is seconds from now."""
        due_in = "TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), due) / 1e6 AS due_in"
        (row,) = self.run(f"SELECT *, {due_in} FROM jobs WHERE id = %s", job_id)
        return dict(row)

    def add(self, **values: Any) -> str:
        """A job, due a minute ago unless `due_in` has other seconds; returns its id."""
        due_in = values.pop("due_in", -60)
        values = {
            "id": str(uuid4()), "name": "count", "queue": "queries.jobs", "parameters": "{}",
            "retry": '{"max_retries": 0, "backoff": 1, "backoff_max": 600}', "state": "queued", **values,
        }  # fmt: skip
        names, places = ", ".join(values), ", ".join(["%s"] * len(values))
        self.run(
            f"INSERT INTO jobs ({names}, created, due) VALUES ({places}, UTC_TIMESTAMP(6),"
            " TIMESTAMPADD(MICROSECOND, %s, UTC_TIMESTAMP(6)))",
            *values.values(), int(due_in * 1e6),
        )  # fmt: skip
        return str(values["id"])


@pytest.fixture
def rows(database_url: str) -> Iterator[Rows]:
    table = Rows(database_url)
    yield table
    table.close()


@asynccontextmanager
async def turning() -> AsyncIterator[Callable[[], int]]:
    """Counts the turns of the loop while the block runs."""
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    task = asyncio.create_task(turn())
    try:
        yield lambda: turns
    finally:
        task.cancel()


Serve = Callable[..., AbstractAsyncContextManager[Site]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The tests of the routes run over both stores, but for those that make the fake one fail."""
    if "kept_in" in metafunc.fixturenames:
        metafunc.parametrize("kept_in", ["memory"] if "fake" in metafunc.fixturenames else ["memory", "database"])


@pytest.fixture
def publisher() -> FakePublisher:
    return FakePublisher()


@pytest.fixture
def fake() -> FakeStore:
    """The store in memory, which can be made to fail."""
    return FakeStore()


@pytest.fixture
def database_store(io_loop: Any, database_url: str) -> Iterator[DatabaseStore]:
    opened = Connections(database_url)
    yield DatabaseStore(opened, 1000)
    io_loop.run_sync(opened.close)


@pytest.fixture
def store(kept_in: str, request: pytest.FixtureRequest) -> Store:
    """Where the routes keep jobs."""
    found: Store = request.getfixturevalue("fake" if kept_in == "memory" else "database_store")
    return found


@pytest.fixture
def worker(kept_in: str, request: pytest.FixtureRequest) -> Iterator[Worker]:
    """What happens to the jobs of `store`."""
    if kept_in == "memory":
        yield FakeWorker(request.getfixturevalue("fake"))
        return
    worker = DatabaseWorker(request.getfixturevalue("database_url"))
    yield worker
    worker.close()


@pytest.fixture
def serve(store: Store, publisher: FakePublisher) -> Serve:
    """Serves the jobs of `store`; settings as for Settings."""
    return partial(serving, store, publisher)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """A file of keys without any."""
    return Keys(tmp_path / "keys.json")
