"""Thousands of clients that send a byte a second, or do not read: all others are answered as if there were none."""

import asyncio
import json
import statistics
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from deploy.local.process import Process, free_port
from deploy.local.services import Services
from tests.bridge.conftest import until
from tests.conftest import ROOT, Start, celery_worker, printed, ready, services_settings
from tests.faults.figures import Figures
from tests.faults.flood import one

pytestmark = [pytest.mark.gen_test(timeout=600), pytest.mark.timeout(600)]

_ANSWER = 16_000_000  # bytes of the texts in one
_NOW = b"GET /i_want_you_now HTTP/1.1\r\nHost: h\r\n\r\n"
_EACH = 0.005  # seconds from one request to the next
_HEADERS, _BODIES, _READING = 10.0, 30.0, 30.0 + 10.0  # seconds that the server gives each kind
_SPARE = 3.0  # and those by which it may be late, as it looks once a second, and has others to answer
_MEMORY = 200  # MB more
_OTHERS = 2  # files more than at first: the connection to the broker for what topics publish may be a further one


@pytest.fixture
def site(services: Services, start: Start, tmp_path: Path) -> Iterator[tuple[Process, int]]:
    """A server whose workers have the query `large`, and its port."""
    folder = tmp_path / "queries"
    folder.mkdir()
    statement = f"SELECT id, REPEAT('x', {_ANSWER // 16}) AS text FROM users WHERE id <= 16 ORDER BY id"
    (folder / "large.sql").write_text(statement)
    settings = {**services_settings(services), "queries": folder}
    worker = celery_worker(start, "tasks", "-P", "threads", "-c", "2", **settings)
    port = free_port()
    server = start("server", "server", port=port, **settings)
    try:
        ready(server, port)
        yield server, port
    finally:
        server.kill()
        worker.kill()


async def latencies(port: int, seconds: float) -> list[float]:
    """Of requests one after the other, on a connection that is kept."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = []
    end = loop.time() + seconds
    while (sent := loop.time()) < end:
        assert await one(reader, writer, _NOW) == "200"
        found.append(loop.time() - sent)
        await asyncio.sleep(_EACH)
    writer.close()
    return found


def p99(found: list[float]) -> float:
    return statistics.quantiles(found, n=100)[98] * 1000


@asynccontextmanager
async def slow_clients(port: int, numbers: list[int]) -> AsyncIterator[asyncio.subprocess.Process]:
    """So many as tests.faults.slow has them are there, for as long as the block lasts."""
    clients = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.slow", str(port), "/queries/large", *map(str, numbers),
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert clients.stdout is not None
    try:
        assert await clients.stdout.readline() == b"open\n"
        yield clients
    finally:
        if clients.returncode is None:
            await clients.communicate(b"")


async def test_slow_clients_take_neither_time_nor_memory_and_are_closed(
    site: tuple[Process, int], scale: float, figures: Figures
) -> None:
    server, port = site
    numbers = [max(20, round(number * scale)) if scale else 20 for number in (5000, 1000, 400)]
    seconds, rounds = (8.0, 3) if scale else (2.0, 1)
    process = psutil.Process(server.pid)
    files, memory = process.num_fds(), process.memory_info().rss
    idle, flooded = [], []
    used = grown = 0.0  # seconds of the server's CPU, and MB
    for number in range(rounds):
        await until(lambda: process.num_fds() - files <= _OTHERS)
        idle.append(await latencies(port, seconds))
        async with slow_clients(port, numbers) as clients:
            open_files = process.num_fds() - files
            before = process.cpu_times()
            flooded.append(await latencies(port, seconds))
            used += sum(process.cpu_times()[:2]) - sum(before[:2])
            grown = max(grown, (process.memory_info().rss - memory) / 1e6)
            if number == rounds - 1:
                if scale:
                    await asyncio.sleep(_READING + _SPARE)
                left = process.num_fds() - files
                printed_text, _ = await clients.communicate(b"")
    headers, bodies = json.loads(printed_text)
    ratios = [p99(under) / p99(without) for without, under in zip(idle, flooded)]
    figures.remark(
        "{} slow headers, {} slow bodies, {} that do not read".format(*numbers),
        idle=f"p99 {p99(sum(idle, [])):.2f} ms", flooded=f"p99 {p99(sum(flooded, [])):.2f} ms",
        p99_times=" ".join(f"{ratio:.2f}" for ratio in ratios),
        CPU_of_the_server=f"{used / seconds / rounds:.0%}",
        connections=open_files, memory_MB=round(grown), left=left,
        headers=f"{headers['closed']} closed after {headers['longest']:.1f} s at most",
        bodies=f"{bodies['closed']} closed after {bodies['longest']:.1f} s at most",
    )  # fmt: skip
    assert grown < _MEMORY
    assert "Traceback" not in printed(server)
    if scale:
        assert (headers["closed"], bodies["closed"]) == tuple(numbers[:2])
        assert left <= _OTHERS
    if scale >= 1:
        assert headers["longest"] < _HEADERS + _SPARE and bodies["longest"] < _BODIES + _SPARE
        assert statistics.median(ratios) <= 2
