"""A stack that tests of jobs share: each leaves it whole, with no job that has not ended."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.conftest import Start
from tests.faults.jobs.client import Client, body
from tests.faults.jobs.stack import Stack
from tests.given import new_database


@pytest.fixture
def fresh_database() -> Iterator[str | None]:
    """The URL of an empty database on the server that the environment names; None for none: a Stack has its own."""
    with new_database() as database_url:
        yield database_url


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, start: Start) -> Iterator[Stack]:
    """Two servers and two workers, on the database that the environment names. The servers know the jobs already."""

    async def begin() -> None:
        await stack.begin(proxied=False)
        for url in stack.urls:
            client = Client([url])
            while (reply := await client.post(body())).code != 202:
                assert reply.code == 503, reply
                await asyncio.sleep(0.2)
            await client.ended(reply.document["id"], 60)

    with new_database() as database_url:
        stack = Stack(tmp_path_factory.mktemp("stack"), start, database_url=database_url)
        try:
            asyncio.run(begin())
            yield stack
        finally:
            asyncio.run(stack.end())
