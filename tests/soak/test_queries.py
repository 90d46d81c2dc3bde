"""What counts of an answer to a query, and of none."""

import asyncio
import json
import re
from collections.abc import Callable

import pytest

from tests.soak.queries import Queries
from tests.soak.work import Work

pytestmark = pytest.mark.gen_test

Answer = Callable[[str], tuple[int, str] | None]


def rows(query_id: str) -> tuple[int, str]:
    return 200, json.dumps({"rows": [{"id": query_id}]})


async def ask(answer: Answer, down: bool = False) -> Queries:
    """Queries to a server that answers so; None for a connection that it ends."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        request = head + await reader.readexactly(int(length[1]) if length else 0)
        found = re.search(rb"query-\d+", request)
        assert found is not None
        if (answered := answer(found[0].decode())) is not None:
            status, body = answered
            writer.write(f"HTTP/1.1 {status} Any\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    queries = Queries([url], lambda url, since: down, seed=1, rate=100.0)
    over = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.05, over.set_result, None)
    await queries.run(over)
    server.close()
    return queries


@pytest.mark.parametrize(
    ("answer", "down", "counted"),
    [
        (rows, False, "done"),
        (lambda query_id: (503, ""), False, "refused"),
        (lambda query_id: (504, ""), False, "late"),
        (lambda query_id: None, True, "unknown"),
        (lambda query_id: None, False, "lost"),
    ],
    ids=["answered", "refused", "late", "ended with its server", "ended by a server that is there"],
)
async def test_each_query_counts_as_what_became_of_it(answer: Answer, down: bool, counted: str) -> None:
    work = (await ask(answer, down)).work
    assert work.asked == getattr(work, counted) > 1
    assert len(work.broken) == work.lost
    assert sum(getattr(work, name) for name in ("done", "refused", "late", "unknown", "lost", "twice")) == work.asked


@pytest.mark.parametrize("answer", [lambda query_id: rows("another"), lambda query_id: (500, "")])
async def test_an_answer_that_is_no_promise_is_a_broken_one(answer: Answer) -> None:
    work: Work = (await ask(answer)).work
    assert len(work.broken) == work.asked > 1 and not work.done


async def test_that_nobody_knows_is_no_answer_to_a_query_that_may_run_twice() -> None:
    work = (await ask(lambda query_id: (502, ""))).work
    assert work.unknown > 0 and len(work.broken) == work.asked - work.unknown > 0


async def test_the_ids_of_those_that_must_not_run_twice_are_kept() -> None:
    answered, refused = await ask(rows), await ask(lambda query_id: (503, ""))
    assert set(answered.answered) == {f"query-{number}" for number in range(0, answered.work.asked, 2)}
    assert set(refused.refused) == {f"query-{number}" for number in range(0, refused.work.asked, 2)}
    assert answered.refused == refused.answered == []
