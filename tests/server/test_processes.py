"""Several processes: what they get of a signal."""

import asyncio
import errno
import signal
import sys
from typing import Any

import pytest

from server.processes import Processes
from tests.bridge.conftest import until

# Notifies that it is ready once it has SIGHUP's handler, which ends it as 7.
_PROCESS = """
import os, signal, socket, sys, time
if len(sys.argv) > 1:
    signal.signal(signal.SIGHUP, lambda *_: os._exit(7))
    notifying = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notifying.connect(os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1))
    notifying.send(b"READY=1")
time.sleep(60)
"""


@pytest.mark.gen_test
@pytest.mark.parametrize("serves", [True, False])
async def test_a_signal_reaches_those_that_serve_and_ends_none_that_starts(
    serves: bool, caplog: pytest.LogCaptureFixture
) -> None:
    ready = asyncio.Event()
    command = [sys.executable, "-c", _PROCESS, *(["serves"] if serves else [])]
    processes = Processes(command, 1, 10.0, on_ready=ready.set)
    running = asyncio.ensure_future(processes.run())
    try:
        if serves:
            await ready.wait()
        else:
            await until(lambda: len(processes._running) == 1)
        processes.signal(signal.SIGHUP)
        if serves:
            await until(lambda: "exited with status 7" in caplog.text)
        else:
            await asyncio.sleep(0.1)
            assert not caplog.text and len(processes._running) == 1
    finally:
        processes.stop()
        await running


@pytest.mark.gen_test
async def test_one_that_cannot_be_started_is_tried_again_and_ends_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = asyncio.create_subprocess_exec
    tries: list[int] = []

    async def starting(*command: str, **options: Any) -> asyncio.subprocess.Process:
        tries.append(len(tries))
        if tries[-1] in (1, 2):
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return await start(*command, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", starting)
    ready = asyncio.Event()
    processes = Processes([sys.executable, "-c", _PROCESS, "serves"], 2, 10.0, on_ready=ready.set)
    running = asyncio.ensure_future(processes.run())
    try:
        await ready.wait()
        assert len(processes._running) == 2 and caplog.text.count("cannot be started") == 2
    finally:
        processes.stop()
        await running
