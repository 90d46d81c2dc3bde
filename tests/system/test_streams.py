"""Answers without end, as processes, over HTTP."""

import asyncio
import csv
import io
import json
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from deploy.local.process import Process, free_port
from deploy.local.services import Services
from tests import programs
from tests.conftest import Start, celery_worker, connect, printed, ready, services_settings
from tests.http import assert_problem, fetch
from tests.system.conftest import soon, wait_until
from tests.system.streaming import reading, statements, write_queries

NDJSON = {"Accept": "application/x-ndjson"}


class Stack:
    """A server and a worker, and what they leave behind.

    Attributes:
        url: the server's.
        broker_url: the broker's, which is theirs alone.
    """

    def __init__(self, url: str, broker_url: str, database_url: str, server: Process, worker: Process) -> None:
        self.url = url
        self.broker_url = broker_url
        self.server = server
        self.worker = worker
        self._database_url = database_url

    def statements(self) -> int:
        with connect(self._database_url) as connection:
            return statements(connection)


@pytest.fixture(scope="module")
def stack(
    services: Services, new_vhosts: Iterator[str], start: Start, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    queries = write_queries(tmp_path_factory.mktemp("queries"))
    settings = {**services_settings(services), "broker_url": next(new_vhosts), "queries": queries}
    worker = celery_worker(start, "tasks", "-P", "threads", "-c", "50", **settings)
    port = free_port()
    server = start("server", "server", port=port, max_streams=40, **settings)
    url = ready(server, port)
    yield Stack(url, settings["broker_url"], services.database_url, server, worker)
    server.kill()
    worker.kill()


def test_rows_come_as_lines_of_json(stack: Stack) -> None:
    answer = fetch(f"{stack.url}/queries/numbers?width=2&total=3000", headers=NDJSON)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson; charset=utf-8")
    assert (answer.headers["transfer-encoding"], answer.headers["vary"]) == ("chunked", "Accept")
    assert answer.body.endswith(b"\n")
    rows = [json.loads(line) for line in answer.body.splitlines()]
    assert rows == [{"number": number, "text": "éé", "nothing": None} for number in range(1, 3001)]


def test_rows_come_as_csv(stack: Stack) -> None:
    answer = fetch(f"{stack.url}/queries/numbers?width=1&total=2", headers={"Accept": "text/csv"})
    assert (answer.status, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert answer.body == '"number","text","nothing"\r\n1,"é",\r\n2,"é",\r\n'.encode()
    assert list(csv.reader(io.StringIO(answer.body.decode()))) == [
        ["number", "text", "nothing"], ["1", "é", ""], ["2", "é", ""],
    ]  # fmt: skip


def test_no_rows_are_an_empty_answer_or_a_header_alone(stack: Stack) -> None:
    url = f"{stack.url}/queries/numbers?total=0"
    assert [fetch(url, headers=NDJSON).status, fetch(url, headers=NDJSON).body] == [200, b""]
    assert fetch(url, headers={"Accept": "text/csv"}).body == b'"number","text","nothing"\r\n'


@pytest.mark.parametrize("accept", ["", "*/*", "application/json, text/plain, */*", "image/png", "text/csv;q=0"])
def test_whoever_asks_for_no_stream_gets_json(stack: Stack, accept: str) -> None:
    answer = fetch(f"{stack.url}/queries/numbers?total=1", headers={"Accept": accept} if accept else None)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json()["rows"] == [{"number": 1, "text": "", "nothing": None}]


def test_a_post_streams_too_and_its_parameters_are_validated(stack: Stack) -> None:
    headers = {**NDJSON, "Content-Type": "application/json"}
    url = f"{stack.url}/queries/once"
    assert fetch(url, "POST", headers, b'{"total": 2}').body.count(b"\n") == 2
    assert_problem(fetch(url, "POST", headers, b'{"total": "x"}'), 400)
    assert_problem(fetch(url, headers=NDJSON), 405)
    assert_problem(fetch(f"{stack.url}/queries/nobody", headers=NDJSON), 404)


def test_head_has_the_headers_of_a_stream_and_the_connection_goes_on(stack: Stack) -> None:
    whole = fetch(f"{stack.url}/queries/numbers?total=10", headers=NDJSON)
    head = fetch(f"{stack.url}/queries/numbers?total=100000000", "HEAD", headers=NDJSON)
    assert (head.status, head.body, head.headers["content-type"]) == (200, b"", whole.headers["content-type"])
    wait_until(lambda: stack.statements() == 0, 2.0)


def test_an_error_before_the_first_row_is_a_problem(stack: Stack) -> None:
    assert_problem(fetch(f"{stack.url}/queries/breaks?fine=0", headers=NDJSON), 500)
    wait = {**NDJSON, "Prefer": "wait=1"}
    assert_problem(fetch(f"{stack.url}/queries/slow?pause=30", headers=wait), 504)
    wait_until(lambda: stack.statements() == 0, 10.0)


@pytest.mark.gen_test
async def test_an_error_in_the_middle_breaks_the_answer_off(stack: Stack) -> None:
    async with reading(f"{stack.url}/queries/breaks?fine=200000") as client:
        await client.begin()
        assert client.status == 200
        with pytest.raises((asyncio.IncompleteReadError, OSError)):
            await client.rest()
    await soon(lambda: "its stream broke off: TaskFailed" in printed(stack.server))


def test_curl_says_that_an_answer_broke_off(stack: Stack) -> None:
    programs.require("curl")
    command = ["curl", "-s", "-H", "Accept: application/x-ndjson", "-o", "/dev/null"]
    url = f"{stack.url}/queries/breaks?fine=200000"
    assert subprocess.run([*command, url]).returncode == 18
    # Its end would be that of the connection.
    assert subprocess.run([*command, "--http1.0", url]).returncode == 56


def test_more_rows_than_a_stream_may_have_break_it_off(stack: Stack) -> None:
    command = ["curl", "-s", "-H", "Accept: application/x-ndjson", "-H", "Content-Type: application/json"]
    done = subprocess.run([*command, "-d", '{"total": 200000}', f"{stack.url}/queries/once"], stdout=subprocess.PIPE)
    assert done.returncode == 18
    assert 1 <= done.stdout.count(b"\n") <= 100_000


@pytest.mark.gen_test
async def test_a_client_that_leaves_ends_the_statement_whatever_it_does(stack: Stack) -> None:
    # Rows without end; a row a second, which the database keeps in its buffer; no row for a minute.
    paths = ["numbers?width=1000&total=100000000", "slow?pause=1&total=1000", "slow?pause=60"]
    async with reading(f"{stack.url}/queries/{paths[0]}") as client:
        await client.begin()
        await client.chunk()
        assert stack.statements() == 1
    await soon(lambda: stack.statements() == 0, timeout=2.0)
    for path in paths[1:]:
        async with reading(f"{stack.url}/queries/{path}"):
            await soon(lambda: stack.statements() == 1)
        await soon(lambda: stack.statements() == 0, timeout=2.0)


@pytest.mark.gen_test
async def test_a_client_that_reads_slowly_slows_the_statement_down(stack: Stack) -> None:
    async with reading(f"{stack.url}/queries/numbers?width=1000&total=50000") as client:
        await client.begin()
        await client.chunk()
        await asyncio.sleep(2)
        # It waits: 100 MB are in nobody's memory.
        assert stack.statements() == 1
        assert (await client.rest()).count(b"\n") > 49_000


@pytest.mark.gen_test
async def test_a_stream_too_many_is_refused(stack: Stack) -> None:
    url = f"{stack.url}/queries/slow?pause=60"
    async with AsyncExitStack() as clients:
        for _ in range(40):
            await clients.enter_async_context(reading(url))
        await soon(lambda: stack.statements() == 40)
        refused = await asyncio.get_running_loop().run_in_executor(None, lambda: fetch(url, headers=NDJSON))
        assert assert_problem(refused, 503)["type"].endswith(":overloaded")
    await soon(lambda: stack.statements() == 0, timeout=5.0)


@pytest.mark.gen_test
async def test_a_client_that_does_not_read_is_disconnected(stack: Stack) -> None:
    async with reading(f"{stack.url}/queries/numbers?width=1000&total=99999999"):
        await soon(lambda: stack.statements() == 1)
        await soon(lambda: stack.statements() == 0, timeout=30.0)
    assert "its client does not read the answer" in printed(stack.server)


@pytest.mark.gen_test
async def test_a_server_that_is_stopped_breaks_its_streams_off(stack: Stack, start: Start) -> None:
    port = free_port()
    server = start("server", "server", port=port, shutdown_timeout=0.5, broker_url=stack.broker_url)
    async with reading(f"{ready(server, port)}/queries/numbers?width=1000&total=99999999") as client:
        await client.begin()
        await client.chunk()
        server.terminate()
        with pytest.raises((asyncio.IncompleteReadError, OSError)):
            await client.rest()
    await soon(lambda: server.returncode == 0, timeout=10.0)
    await soon(lambda: stack.statements() == 0, timeout=5.0)
