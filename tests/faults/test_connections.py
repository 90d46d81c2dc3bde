"""More connections than a server may have files open."""

import asyncio
import contextlib
import resource
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psutil
import pytest

from deploy.local.process import Process, free_port
from deploy.local.services import Services
from tests.conftest import Start, printed, ready, services_settings
from tests.faults.figures import Figures
from tests.faults.flood import one

pytestmark = [pytest.mark.gen_test(timeout=300), pytest.mark.timeout(300)]

_LIMIT, _CLIENTS = 256, 1000
_LINES, _CPU = 10, 0.2  # lines of log a second, and of a core


@contextmanager
def descriptors() -> Iterator[None]:
    """As many as this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def stay(port: int) -> None:
    """Connect, and again whenever that ends."""
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await reader.read()
            finally:
                writer.close()


@asynccontextmanager
async def connections(port: int) -> AsyncIterator[None]:
    """A thousand, which come again when they are closed."""
    with descriptors():
        clients = [asyncio.ensure_future(stay(port)) for _ in range(_CLIENTS)]
        try:
            yield
        finally:
            for client in clients:
                client.cancel()
            await asyncio.wait(clients)


async def answers(port: int, timeout: float) -> bool:
    """True when a request on a new connection is answered in time."""

    async def ask() -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            return await one(reader, writer, b"GET /i_want_you_now HTTP/1.1\r\nHost: h\r\n\r\n")
        finally:
            writer.close()

    try:
        return await asyncio.wait_for(ask(), timeout) == "200"
    except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
        return False


def limited(folder: Path) -> str:
    """A Python that may open few files."""
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nulimit -n {_LIMIT}\nexec {sys.executable} "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_server_that_is_full_rests_and_serves_again(
    services: Services, start: Start, tmp_path: Path, scale: float, figures: Figures, elsewhere: bool
) -> None:
    """Full by its own bound; or by the system's, when files are few that it had counted on."""
    port = free_port()
    python = sys.executable if elsewhere else limited(tmp_path)
    server = start("server", "server", python=python, port=port, **services_settings(services))
    ready(server, port)
    process, loop = psutil.Process(server.pid), asyncio.get_running_loop()
    if elsewhere:
        few = process.num_fds() + 100
        process.rlimit(resource.RLIMIT_NOFILE, (few, few))
    seconds = 20.0 if scale else 3.0
    async with connections(port):
        await asyncio.sleep(0.5)
        lines, used = log_lines(server), cpu(process)
        await asyncio.sleep(seconds)
        lines, used = log_lines(server) - lines, cpu(process) - used
        open_files = process.num_fds()
        meanwhile = sum([await answers(port, 2.0) for _ in range(5)])
    closed = loop.time()
    # A connection that the system itself drops would come again after a second.
    while not await answers(port, 0.2):
        assert loop.time() < closed + 30
    again = loop.time() - closed
    figures.remark(
        f"{_CLIENTS} connections, {'files used elsewhere' if elsewhere else f'{_LIMIT} files'}",
        open_files=open_files, CPU_while_full=f"{used / seconds:.1%}", lines_of_log=lines,
        answered_meanwhile=f"{meanwhile} of 5", served_again_after=again,
    )  # fmt: skip
    server.kill()
    assert elsewhere or open_files < _LIMIT
    assert lines < _LINES * seconds, printed(server)[-2000:]
    assert "Traceback" not in printed(server)
    if scale >= 1:
        assert used < _CPU * seconds
        assert again < 1.0


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def log_lines(server: Process) -> int:
    return printed(server).count("\n")
