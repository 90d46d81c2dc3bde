import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.local import programs
from deploy.local.errors import LocalError
from tests import programs as tests_programs
from tests.faults.network import Network


@pytest.fixture
def ip() -> str:
    """The program that makes networks."""
    tests_programs.require("ip")
    return tests_programs.path("ip")


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine whose programs are those of one folder."""
    monkeypatch.setattr(programs, "_DIRECTORIES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "_POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(programs, "_INIT", tmp_path / "init.d")
    return tmp_path


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_what_is_there_is_not_installed_again(nothing_installed: Path) -> None:
    script(nothing_installed / "epmd", "exit 0")
    programs.require(["epmd"])
    assert programs.path("epmd") == str(nothing_installed / "epmd")


def test_without_apt_the_command_and_the_containers_are_shown(nothing_installed: Path) -> None:
    with pytest.raises(LocalError) as caught:
        programs.require(["rabbitmq-server", "mariadbd"])
    text = str(caught.value)
    assert "sudo apt-get install mariadb-server-core rabbitmq-server" in text
    assert "docker run" in text
    assert "export NOWAIT_BROKER_URL=" in text
    with pytest.raises(LocalError, match="sudo apt-get install iproute2 wrk\n$"):
        tests_programs.require("ip", "wrk")


def machine_with_apt(folder: Path, monkeypatch: pytest.MonkeyPatch, install: str) -> Path:
    """A machine of root's where apt-get is a script; returns the file with its arguments."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    calls = folder / "calls"
    case = f'case "$*" in *install*) {install};; esac'
    forbidden = f"test -e {folder}/policy-rc.d && echo forbidden >> {calls}"
    script(folder / "apt-get", f'echo "$@" >> {calls}; {forbidden}; {case}')
    script(folder / "apt-cache", 'test "$2" != mariadb-server-core && echo known')
    for name in ("env", "tee", "chmod", "rm"):
        script(folder / name, f'exec /usr/bin/{name} "$@"')
    return calls


def test_what_is_missing_is_installed_while_services_may_not_start(
    nothing_installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = nothing_installed / "mariadbd"
    scripts = nothing_installed / "init.d"
    scripts.mkdir()
    (scripts / "cron").touch()
    calls = machine_with_apt(
        nothing_installed,
        monkeypatch,
        f"printf '#!/bin/sh\\n' > {made}; chmod 755 {made}; touch {scripts}/mariadb",
    )
    script(nothing_installed / "update-rc.d", f'echo "$@" >> {calls}')
    programs.require(["mariadbd"])
    update, install, forbidden, disabled = calls.read_text().splitlines()
    assert disabled == "mariadb disable"
    assert "update" in update
    assert install.endswith("install mariadb-server")
    assert forbidden == "forbidden"
    assert not (nothing_installed / "policy-rc.d").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_hosts_of_their_own_install_what_makes_networks(
    ip: str, nothing_installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = machine_with_apt(nothing_installed, monkeypatch, f"ln -s {ip} {nothing_installed}/ip")
    with Network("one", "other") as network:
        assert Path(f"/run/netns/{network.name('one')}").exists()
    assert not Path(f"/run/netns/{network.name('one')}").exists()
    assert "install iproute2" in calls.read_text()


def test_two_at_a_time_install_one_after_the_other(nothing_installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = nothing_installed / "mariadbd"
    begun = nothing_installed / "begun"
    # A second installation would find what the first one has begun.
    calls = machine_with_apt(
        nothing_installed,
        monkeypatch,
        f"mkdir {begun} || exit 1; sleep 0.5; printf '#!/bin/sh\\n' > {made}; chmod 755 {made}; rmdir {begun}",
    )
    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(programs.require, ["mariadbd"]) for _ in range(2)]:
            done.result()
    assert calls.read_text().count("install mariadb-server") == 1


def test_an_installation_that_fails_shows_why_and_cleans_up(
    nothing_installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine_with_apt(nothing_installed, monkeypatch, "echo no space left; exit 100")
    with pytest.raises(LocalError, match=r"apt-get install mariadb-server failed:\n(.|\n)*no space left"):
        programs.require(["mariadbd"])
    assert not (nothing_installed / "policy-rc.d").exists()
