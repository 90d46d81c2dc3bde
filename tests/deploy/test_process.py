import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from deploy.local.errors import LocalError
from deploy.local.folder import owned
from deploy.local.process import Process, free_port, listens
from tests.conftest import ROOT

OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_process_is_stopped_with_sigterm(tmp_path: Path) -> None:
    process = Process("sleeper", SLEEP, output=tmp_path / "log")
    assert process.returncode is None
    assert process.stop() == -signal.SIGTERM
    assert process.stop() == -signal.SIGTERM


def test_one_that_does_not_stop_is_killed_with_its_children(tmp_path: Path) -> None:
    code = (
        "import signal, subprocess; signal.signal(15, signal.SIG_IGN)\n"
        "print(subprocess.Popen(['sleep', '600']).pid, flush=True); signal.pause()"
    )
    process = Process("stubborn", python(code), output=tmp_path / "log")
    process.wait_until(lambda: (tmp_path / "log").read_text().endswith("\n"), 20)
    child = psutil.Process(int((tmp_path / "log").read_text()))
    assert process.stop(timeout=0.2) == -signal.SIGKILL
    child.wait(20)


def test_a_process_that_ends_before_it_is_ready_says_what_it_printed(tmp_path: Path) -> None:
    process = Process("broken", python("print('the reason'); raise SystemExit(3)"), output=tmp_path / "log")
    with pytest.raises(LocalError, match=r"broken ended with status 3(.|\n)*the reason"):
        process.wait_until(lambda: False, 20)


def test_one_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    process = Process("idle", SLEEP, output=tmp_path / "log")
    with pytest.raises(LocalError, match="idle was not ready within 0 s"):
        process.wait_until(lambda: False, 0.1)
    process.kill()


def test_lines_are_handed_over_as_they_come() -> None:
    lines: list[str] = []
    process = Process("talker", python("import sys; print('out'); print('err', file=sys.stderr)"), output=lines.append)
    process.wait_until(lambda: len(lines) == 2, 20)
    process.stop()
    assert sorted(lines) == ["err", "out"]


def test_children_do_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from deploy.local.process import Process\n"
        "print(Process('child', ['sleep', '600'], output=Path(sys.argv[1])).pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([*python(code), str(tmp_path / "log")], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    child.wait(20)


def test_a_free_port_is_free_until_something_listens() -> None:
    port = free_port()
    assert not listens(port)
    with subprocess.Popen(
        python(f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(600)")
    ) as server:
        while not listens(port):
            assert server.poll() is None
            time.sleep(0.02)
        server.kill()


@pytest.mark.skipif(not OUTGOING.exists(), reason="this kernel does not say which ports outgoing connections get")
def test_a_free_port_is_given_to_one_process_until_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import time; from deploy.local.process import free_port; print(free_port(), flush=True); time.sleep(600)"
    with subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True, cwd=ROOT) as other:
        assert other.stdout is not None
        taken = int(other.stdout.readline())
        drawn, draw = [taken, taken], secrets.randbelow
        monkeypatch.setattr(secrets, "randbelow", lambda end: drawn.pop() - 10_000 if drawn else draw(end))
        assert free_port() != taken and not drawn
        other.kill()
    drawn = [taken, taken]
    assert free_port() == taken
    assert free_port() != taken, "nor twice to one process"


@pytest.mark.skipif(not OUTGOING.exists(), reason="this kernel does not say which ports outgoing connections get")
def test_a_free_port_is_none_that_an_outgoing_connection_gets() -> None:
    first = int(OUTGOING.read_text().split()[0])
    ports = {free_port() for _ in range(100)}
    assert first < 20_000 or max(ports) < first
    assert len(ports) > 90


def test_a_folder_is_owned_by_one_process_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.local.folder._PATIENCE", 0.3)
    told: list[str] = []
    reader, writer = os.pipe()
    with owned(tmp_path / "stack"):
        child = os.fork()
        if not child:
            status = 1
            try:
                with owned(tmp_path / "stack", told.append):
                    pass
            except LocalError as error:
                os.write(writer, f"{told} {error}".encode())
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    assert "waiting for it to end" in text
    assert "stop that one first" in text
    with owned(tmp_path / "stack", told.append):
        assert told == []
