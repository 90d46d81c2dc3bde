"""Several server processes behind one port."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable

import psutil
import pytest

from deploy.local.process import Process, free_port
from deploy.local.services import Services
from server.processes import Processes
from tests.conftest import ROOT, Start, printed, ready, services_settings
from tests.http import fetch
from tests.system.conftest import Volley, soon, wait_until


def children(server: Process) -> set[int]:
    return {child.pid for child in psutil.Process(server.pid).children()}


@pytest.fixture
def several(start: Start, services: Services, worker: Process) -> tuple[Process, str]:
    """A server of two processes, and its URL."""
    port = free_port()
    server = start("server", "server", port=port, demo=1, processes=2, **services_settings(services))
    url = ready(server, port)
    wait_until(lambda: printed(server).count("broker connected") == 2)
    return server, url


def test_one_that_dies_is_replaced_and_the_others_serve_meanwhile(several: tuple[Process, str]) -> None:
    server, url = several
    before = children(server)
    assert len(before) == 2
    victim = before.pop()
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in children(server))
    assert fetch(f"{url}/mysql_query/1").status == 200
    wait_until(lambda: len(children(server)) == 2)
    assert before < children(server)
    wait_until(lambda: printed(server).count("broker connected") == 3)
    assert server.stop() == 0


@pytest.mark.gen_test
async def test_one_that_hangs_is_replaced_and_all_are_ready_before_any_is_said_to_be(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    for name, value in {"PORT": port, **services_settings(services)}.items():
        monkeypatch.setenv(f"NOWAIT_{name.upper()}", str(value))
    ready = asyncio.Event()
    command = [sys.executable, "-m", "server", "--one-of-several"]
    processes = Processes(command, 2, 10.0, watchdog=4.0, on_ready=ready.set)
    running = asyncio.ensure_future(processes.run())
    try:
        await asyncio.wait_for(ready.wait(), 60)
        before = listening(port)
        assert len(before) == 2
        victim = min(before)
        os.kill(victim, signal.SIGSTOP)
        await soon(lambda: len(listening(port) - {victim}) == 2)
        assert not psutil.pid_exists(victim)
        assert listening(port) > before - {victim}
    finally:
        processes.stop()
        await running


def listening(port: int) -> set[int]:
    """The children of this process that listen on that port."""
    found = set()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            if any(each.laddr.port == port and each.status == "LISTEN" for each in child.net_connections()):
                found.add(child.pid)
    return found


@pytest.mark.gen_test
async def test_the_end_of_standard_input_stops_a_process_without_a_spin(
    services: Services, start: Start, sleeping: Callable[[], int], worker: Process
) -> None:
    port = free_port()
    environment = {f"NOWAIT_{name.upper()}": value for name, value in services_settings(services).items()}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "server", "--one-of-several", stdin=asyncio.subprocess.PIPE, cwd=ROOT,
        env={**os.environ, **environment, "NOWAIT_PORT": str(port), "NOWAIT_DEMO": "1"},
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    await soon(lambda: fetch(f"{url}/readyz").status == 200)
    volley = Volley()
    volley.send(f"{url}/mysql_query/1?delay=3")
    await soon(lambda: sleeping() == 1)
    assert child.stdin is not None
    before = cpu(child.pid)
    child.stdin.close()
    await soon(lambda: fetch(url).status == 0)
    assert cpu(child.pid) - before < 1.0
    assert [answer.status for _, answer in await volley.all()] == [200]
    assert await child.wait() == 0


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has taken."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@pytest.mark.gen_test
async def test_sigterm_lets_all_of_them_end_their_requests(
    several: tuple[Process, str], sleeping: Callable[[], int]
) -> None:
    server, url = several
    volley = Volley()
    volley.send(f"{url}/mysql_query/1?delay=2", times=20)
    await soon(lambda: sleeping() == 20)
    pids = children(server)
    server.terminate()
    assert [answer.status for _, answer in await volley.all()] == [200] * 20
    await soon(lambda: server.returncode == 0)
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def test_they_end_when_whoever_started_them_is_killed(several: tuple[Process, str]) -> None:
    server, url = several
    pids = children(server)
    server.signal(signal.SIGKILL)
    wait_until(lambda: not [pid for pid in pids if psutil.pid_exists(pid)])
    assert fetch(url).status == 0


@pytest.mark.parametrize("others", [1, 2])
def test_a_port_that_is_taken_ends_them_with_one_message(start: Start, services: Services, others: int) -> None:
    port = free_port()
    first = start("server", "server", port=port, processes=others, **services_settings(services))
    ready(first, port)
    server = start("server", "server", port=port, processes=2, **services_settings(services))
    wait_until(lambda: server.returncode == 1)
    assert printed(server).splitlines() == [f"cannot listen on 127.0.0.1:{port}: Address already in use"]
    first.stop()
