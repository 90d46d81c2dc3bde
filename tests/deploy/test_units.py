"""The files for real hosts: what can be said of them without one."""

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nowait.systemd import Notifier
from tasks.app import app
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path, tmp_path: Path) -> None:
    # Its program is not installed here.
    text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE)
    copy = tmp_path / unit.name.replace("@", "@1")
    copy.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What systemd hears from a service with a watchdog of 0.4 seconds."""
    path = tmp_path / "notify@1"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        yield sock


def test_a_process_notifies_that_it_is_ready_alive_and_stopping(systemd: socket.socket, tmp_path: Path) -> None:
    file = tmp_path / "alive"
    file.touch()
    notifier = Notifier(file)
    assert not file.exists(), "it is another process's"
    notifier.alive()
    assert file.read_text() == "", "it is alive, also while it waits"
    notifier.ready()
    notifier.ready()
    assert file.read_text() == "ready\n"
    assert systemd.recv(100) == b"READY=1"
    file.unlink()
    while not file.exists():
        notifier.alive()
    notifier.stopping()
    assert [systemd.recv(100) for _ in range(2)] == [b"WATCHDOG=1", b"STOPPING=1"]


def test_a_watchdog_that_waits_for_another_process_is_not_ours(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Notifier().interval == 0.1
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert Notifier().interval == 10


@pytest.mark.parametrize("address", ["nobody", "@nobody", ""])
def test_a_systemd_that_is_gone_harms_nobody(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    Notifier().ready()


def test_a_systemd_that_does_not_read_blocks_nobody(systemd: socket.socket) -> None:
    # Linux keeps ten messages for it (unix(7), max_dgram_qlen).
    for _ in range(100):
        Notifier().ready()
    assert systemd.recv(100) == b"READY=1"


def test_the_definitions_have_every_queue_of_the_workers() -> None:
    definitions = json.loads((DEPLOY / "broker/definitions.json").read_text())
    queues = {queue.name for queue in app.conf.task_queues}
    bound = {binding["destination"] for binding in definitions["bindings"] if binding["source"] == "tasks"}
    assert queues == bound
    assert queues < {queue["name"] for queue in definitions["queues"]}


def test_the_server_may_look_at_the_queues_of_tasks_and_neither_read_nor_declare_them() -> None:
    definitions = json.loads((DEPLOY / "broker/definitions.json").read_text())
    (rights,) = [each for each in definitions["permissions"] if each["user"] == "server"]
    for queue in {queue.name for queue in app.conf.task_queues}:
        # Any right will do: https://www.rabbitmq.com/docs/access-control
        assert re.search(rights["write"], queue)
        assert not re.search(rights["read"], queue) and not re.search(rights["configure"], queue)
    assert not re.search(rights["write"], "queries.dead")
