"""Passwords are on no command line, and in no file before only its owner may read that."""

import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.broker import Broker
from deploy.local.database import Database
from tests import programs
from tests.conftest import ROOT
from tests.faults.hosts import read_script

PAGES = "\n".join(path.read_text() for path in (ROOT / "README.md", *ROOT.glob("docs/*.md")))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker of its own: its open account is to be deleted."""
    broker = Broker(tmp_path / "broker")
    try:
        broker.start()
        broker.wait_ready()
        yield broker
    finally:
        broker.stop()


def test_the_brokers_passwords_are_on_no_command_line(broker: Broker, tmp_path: Path) -> None:
    program, calls = tmp_path / "rabbitmqctl", tmp_path / "calls"
    program.write_text(f'#!/bin/sh\necho "$@" >>{calls}\nexec {programs.path("rabbitmqctl")} "$@"\n')
    program.chmod(0o755)
    passwords = {"SERVER_PASSWORD": "a b'\"c$", "WORKER_PASSWORD": "change-me-2"}
    environment = broker.environment() | {"PATH": f"{tmp_path}:{os.environ['PATH']}", **passwords}
    for verb in ("add_user", "change_password"):
        calls.unlink(missing_ok=True)
        done = subprocess.run(
            ["sh", str(ROOT / "deploy/broker/setup.sh")], env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        assert re.findall(r"^(?:add_user|change_password) .*", calls.read_text(), re.MULTILINE) == [
            f"{verb} server", f"{verb} worker",
        ]  # fmt: skip
        for name, password in passwords.items():
            assert password not in calls.read_text()
            broker.control("authenticate_user", name.partition("_")[0].lower(), password)
    # Nothing that is imported takes passwords away, not even for a moment.
    assert "users" not in json.loads((ROOT / "deploy/broker/definitions.json").read_text())


def test_the_databases_password_is_on_no_command_line(tmp_path: Path) -> None:
    programs.require("mariadb")
    database = Database(tmp_path / "database")
    try:
        database.start()
        database.wait_ready()
        password = database.url.partition("nowait:")[2].partition("@")[0]
        client = [programs.path("mariadb"), *database.root]
        assert password not in " ".join([*client, *psutil.Process(database.process.pid).cmdline()])
        command = [*client, "--skip-column-names", "-e", "SELECT CURRENT_USER()"]
        assert subprocess.run(command, capture_output=True, text=True).stdout == "root@localhost\n"
    finally:
        database.stop()
    secret = [path for path in database.directory.iterdir() if path.is_file() and password in path.read_text()]
    assert secret
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}


@pytest.mark.parametrize("host", ["server", "worker"])
def test_a_file_of_settings_is_its_owners_before_it_has_a_password(host: str, tmp_path: Path) -> None:
    settings, modes, shims = tmp_path / f"nowait/{host}.env", tmp_path / "modes", tmp_path / "shims"
    settings.parent.mkdir()
    shims.mkdir()
    (shims / "cat").write_text(f'#!/bin/sh\nstat -L -c %a /proc/self/fd/3 3>&1 >{modes}\nexec /bin/cat "$@"\n')
    (shims / "cat").chmod(0o755)
    (script,) = [part for part in read_script(PAGES, f"{host}.example") if f"{host}.env" in part]
    # The installation and the unit are of other tests.
    lines = [line for line in script.splitlines() if not line.startswith(("sh deploy/install.sh", "cp deploy/"))]
    subprocess.run(
        ["sh", "-euc", "\n".join(lines).replace("/etc/nowait", str(settings.parent))],
        env={"PATH": f"{shims}:{os.environ['PATH']}"},
        check=True,
        umask=0o022,
    )
    assert "change-me" in settings.read_text()
    assert modes.read_text() == "600\n"
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600
