"""More connections than a server may have files open."""

import asyncio
import resource
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from deploy.local.process import Process, free_port
from deploy.local.services import Services
from tests.conftest import Start, printed, ready, services_settings
from tests.faults.figures import Figures
from tests.http import fetch

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


@contextmanager
def connections(port: int) -> Iterator[None]:
    """A thousand, whatever becomes of them."""
    with descriptors():
        socks = [socket.socket() for _ in range(_CLIENTS)]
        for sock in socks:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        try:
            yield
        finally:
            for sock in socks:
                sock.close()


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
    url = ready(server, port)
    process, loop = psutil.Process(server.pid), asyncio.get_running_loop()
    if elsewhere:
        few = process.num_fds() + 100
        process.rlimit(resource.RLIMIT_NOFILE, (few, few))
    seconds = 20.0 if scale else 4.0
    with connections(port):
        await asyncio.sleep(0.5)
        lines, used = log_lines(server), cpu(process)
        await asyncio.sleep(seconds)
        lines, used = log_lines(server) - lines, cpu(process) - used
        open_files = process.num_fds()
        meanwhile = (await asyncio.to_thread(fetch, f"{url}/i_want_you_now")).status
    closed = loop.time()
    assert (await asyncio.to_thread(fetch, f"{url}/i_want_you_now")).status == 200
    again = loop.time() - closed
    figures.remark(
        f"{_CLIENTS} connections, {'files used elsewhere' if elsewhere else f'{_LIMIT} files'}",
        open_files=open_files, CPU_while_full=f"{used / seconds:.1%}", lines_of_log=lines, meanwhile=meanwhile,
        served_again_after=again,
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
