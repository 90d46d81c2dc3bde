"""Streams that are large, read slowly, left, and cut: memory, and what remains of them."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.local.broker import Broker
from deploy.local.database import Database
from deploy.local.process import free_port
from tests.conftest import Start, celery_worker, connect, printed, ready
from tests.faults.figures import Figures
from tests.http import fetch
from tests.system.conftest import soon
from tests.system.streaming import Reader, reading, statements, write_queries

pytestmark = [pytest.mark.gen_test(timeout=600), pytest.mark.timeout(600)]

_WIDTH = 500  # characters of two bytes in a row, which is a kilobyte
_ALLOWED = 32 * 1024 * 1024  # bytes of memory that a stream may cost a process
_BROKEN = (asyncio.IncompleteReadError, OSError, EOFError)


class Site:
    """Broker, database, worker and server, all to be maltreated.

    Attributes:
        broker, database, worker, server: the processes.
        url: the server's.
    """

    def __init__(self, folder: Path, start: Start) -> None:
        self._start = start
        (folder / "queries").mkdir()
        self._queries = write_queries(folder / "queries")
        self.broker, self.database = Broker(folder / "broker"), Database(folder / "database")

    def start(self) -> None:
        for service in (self.broker, self.database):
            service.start()
        for service in (self.broker, self.database):
            service.wait_ready()
        self._settings = {
            "broker_url": self.broker.url, "database_url": self.database.url, "queries": self._queries,
        }  # fmt: skip
        self.start_worker()
        port = free_port()
        self.server = self._start("server", "server", port=port, max_streams=200, timeout=10, **self._settings)
        self.url = ready(self.server, port)

    def start_worker(self) -> None:
        self.worker = celery_worker(self._start, "tasks", "-P", "threads", "-c", "100", **self._settings)

    def stop(self) -> None:
        for process in (self.server, self.worker):
            process.kill()
        for service in (self.broker, self.database):
            service.stop()

    def statements(self) -> int:
        """Statements that run in the database."""
        with connect(self.database.url) as connection:
            return statements(connection)

    def queues(self) -> list[str]:
        """The queues of streams at the broker."""
        names = self.broker.control("--quiet", "list_queues", "name", "--no-table-headers").split()
        return [name for name in names if name.startswith("nowait.streams.")]

    def served(self) -> bool:
        """True when a stream is read to its end."""
        answer = fetch(f"{self.url}/queries/numbers?total=3", headers={"Accept": "text/csv"}, timeout=5.0)
        return answer.status == 200 and answer.body.count(b"\n") == 4

    def stream(self, total: int, width: int = _WIDTH) -> Any:
        return reading(f"{self.url}/queries/numbers?total={total}&width={width}", limit=1024 * 1024)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, start: Start) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("streams"), start)
    try:
        site.start()
        yield site
    finally:
        site.stop()


class Memory:
    """How far the memory of processes grows while a block runs.

    Attributes:
        grown: bytes at most, by name.
    """

    def __init__(self, site: Site) -> None:
        pids = {"server": site.server.pid, "worker": site.worker.pid, "broker": site.broker.process.pid}
        self._processes = {name: _program(psutil.Process(pid)) for name, pid in pids.items()}
        self._before = self._now()
        self.grown = dict.fromkeys(pids, 0)

    def _now(self) -> dict[str, int]:
        return {name: process.memory_info().rss for name, process in self._processes.items()}

    def look(self) -> None:
        for name, size in self._now().items():
            self.grown[name] = max(self.grown[name], size - self._before[name])

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        async def watch() -> None:
            while True:
                self.look()
                await asyncio.sleep(0.05)

        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()

    def figures(self) -> dict[str, int]:
        return {f"{name}_MB": round(size / 1e6) for name, size in self.grown.items()}


def _program(process: psutil.Process) -> psutil.Process:
    """The largest of a process and what it has started: RabbitMQ's script starts Erlang."""
    return max([process, *process.children(recursive=True)], key=lambda each: each.memory_info().rss)


async def warm(site: Site) -> None:
    """Have each process made what it keeps: connections, buffers, compiled statements."""
    async with site.stream(20_000) as client:
        await client.begin()
        await client.rest()


async def test_a_large_stream_takes_no_memory_and_begins_at_once(
    site: Site, scale: float, figures: Figures
) -> None:
    await warm(site)
    total = round(1_000_000 * scale) or 50_000
    memory, loop = Memory(site), asyncio.get_running_loop()
    sent = loop.time()
    async with memory.watched(), site.stream(total) as client:
        await client.begin()
        size = len(await client.chunk())
        first = loop.time() - sent
        while chunk := await client.chunk():
            size += len(chunk)
        took = loop.time() - sent
    figures.remark(
        f"a stream of {size / 1e6:.0f} MB, read at once", **memory.figures(), first_row=first, took=took,
        MB_a_second=round(size / 1e6 / took),
    )  # fmt: skip
    assert size > total * 2 * _WIDTH
    assert max(memory.grown["server"], memory.grown["worker"]) < _ALLOWED
    assert first < (0.1 if scale else 5.0)


async def test_a_client_that_reads_slowly_takes_no_memory_either(site: Site, scale: float, figures: Figures) -> None:
    await warm(site)
    seconds = 30 * scale or 3.0
    memory = Memory(site)
    async with memory.watched(), site.stream(5_000_000) as client:
        await client.begin()
        read = await client.paced(1e6, seconds)
        assert site.statements() == 1
    figures.remark(f"a stream read at 1 MB/s for {seconds:g} s", **memory.figures(), read_MB=round(read / 1e6))
    assert max(memory.grown.values()) < _ALLOWED
    await soon(lambda: site.statements() == 0, timeout=5.0)


async def test_of_streams_that_are_left_at_random_nothing_remains(site: Site, figures: Figures) -> None:
    paths = ["numbers?total=100000000&width=500", "slow?pause=60", "slow?pause=0.5&total=1000", "numbers?total=2000"]
    chance = random.Random(7)

    async def client() -> None:
        await asyncio.sleep(chance.uniform(0, 2))
        async with reading(f"{site.url}/queries/{chance.choice(paths)}", limit=1024 * 1024) as opened:
            stays = chance.uniform(0, 3)
            try:
                await asyncio.wait_for(opened.paced(chance.choice([1e5, 1e7]), stays), stays)
            except (asyncio.TimeoutError, TimeoutError):
                pass

    await asyncio.gather(*(client() for _ in range(100)))
    left = time.monotonic()
    await soon(lambda: site.statements() == 0, timeout=10.0)
    took = time.monotonic() - left
    await soon(lambda: not site.queues(), timeout=10.0)
    figures.remark("100 streams left at random", no_statement_after=took)
    # A look takes time, too.
    assert took < 3.0
    assert "Traceback" not in printed(site.server)


async def broken(client: Reader) -> float:
    """Read until the answer breaks off; how long that took, in seconds."""
    began = asyncio.get_running_loop().time()
    with pytest.raises(_BROKEN):
        await client.rest()
    return asyncio.get_running_loop().time() - began


@pytest.mark.parametrize("victim", ["worker", "broker", "database", "connections"])
async def test_what_is_killed_in_the_middle_breaks_the_streams_off(site: Site, victim: str, figures: Figures) -> None:
    loop = asyncio.get_running_loop()
    trickle = f"{site.url}/queries/slow?pause=0.002&total=100000000"
    async with site.stream(100_000_000) as fast, reading(trickle) as slow:
        waiting = asyncio.create_task(slow.begin())
        await fast.begin()
        await fast.chunk()
        await soon(lambda: site.statements() == 2)
        ends = [asyncio.create_task(broken(fast))]
        if victim == "worker":
            site.worker.kill()
        elif victim == "connections":
            await loop.run_in_executor(None, lambda: site.broker.control("close_all_connections", "for a test"))
        else:
            (site.broker if victim == "broker" else site.database).process.kill()
        killed = loop.time()
        took = max(await asyncio.wait_for(asyncio.gather(*ends), 30.0))
        # Its first rows may be under way: then it breaks off, otherwise it is answered with an error.
        try:
            await asyncio.wait_for(waiting, 40.0)
        except _BROKEN:
            pass
        else:
            assert slow.status >= 500 or await broken(slow) >= 0
        silent = loop.time() - killed
    figures.remark(f"{victim} killed in the middle of two streams", broken_after=took, the_other_after=silent)
    if victim == "worker":
        site.start_worker()
    elif victim in ("broker", "database"):
        service = site.broker if victim == "broker" else site.database
        service.start()
        service.wait_ready()
    await soon(site.served, timeout=60.0)
    # The database hears that its client was killed when it sends the next 16 KB of rows.
    await soon(lambda: site.statements() == 0, timeout=60.0)
    await soon(lambda: not site.queues(), timeout=10.0)
