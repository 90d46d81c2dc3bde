"""deploy/install.sh upgrades without a gap, and deletes nothing that is not its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT

INSTALL = ROOT / "deploy/install.sh"
VENV = ROOT / "deploy/local/venv.sh"


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", *map(str, command)],
        env={**os.environ, "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A file in a folder that is somebody else's."""
    file = tmp_path / "opt/precious"
    file.parent.mkdir()
    file.write_text("precious")
    return file


def test_a_folder_that_is_no_installation_is_refused_and_left_alone(kept: Path) -> None:
    done = run(INSTALL, "server", kept.parent)
    assert done.returncode == 2
    assert f"{kept.parent} is no installation of Nowait" in done.stderr
    assert kept.read_text() == "precious"
    assert [path.name for path in kept.parent.parent.iterdir()] == ["opt"]


def test_versions_that_are_not_its_own_are_refused_and_left_alone(kept: Path, tmp_path: Path) -> None:
    kept.parent.rename(tmp_path / "nowait.versions")
    done = run(INSTALL, "server", tmp_path / "nowait")
    assert done.returncode == 2
    assert (tmp_path / "nowait.versions/precious").read_text() == "precious"


def test_a_link_to_elsewhere_is_refused_and_left_alone(kept: Path, tmp_path: Path) -> None:
    link = tmp_path / "nowait"
    link.symlink_to(kept.parent)
    assert run(INSTALL, "server", link).returncode == 2
    assert link.readlink() == kept.parent
    assert kept.read_text() == "precious"


def test_a_virtual_environment_is_not_made_over_anything_else(kept: Path) -> None:
    done = run(VENV, sys.executable, kept.parent)
    assert done.returncode == 2
    assert "is no virtual environment" in done.stderr
    assert kept.read_text() == "precious"


def test_a_virtual_environment_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    (tmp_path / ".venv/bin").mkdir(parents=True)
    assert run(VENV, sys.executable, tmp_path / ".venv").returncode == 0
    assert (tmp_path / ".venv/made").exists()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of what is installed, with no dependencies: those of the real one take half a minute each time."""
    source = tmp_path / "the source"
    (source / "deploy/local").mkdir(parents=True)
    for file in (*filter(Path.is_file, ROOT.iterdir()), INSTALL, VENV):
        shutil.copy(file, source / file.relative_to(ROOT))
    for name in ("nowait", "server", "tasks"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    (source / ".git").unlink(missing_ok=True)  # of a further worktree
    # As git writes it into an archive.
    (source / ".git_archival.txt").write_text(f"node: {40 * '0'}\ndescribe-name: v1.2.3\n")
    (source / "deploy/requirements").mkdir()
    shutil.copy(ROOT / "deploy/requirements/build.txt", source / "deploy/requirements")
    (source / "deploy/requirements/server.txt").touch()
    # A tree that is one user's alone, in a folder whose name a shell would split.
    for path in (source / "server", *(source / "server").rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return source


def installed(folder: Path) -> str:
    """The prefix of the installed Python, once it has found the library and the application."""
    code = "import os, sys; print(os.path.realpath(sys.prefix))"
    code += "; from importlib.util import find_spec"
    code += "; print(find_spec('nowait').origin, find_spec('server').origin, sep='\\n')"
    prefix, *packages = run_python(folder, code).splitlines()
    assert all(package.startswith(str(folder)) for package in packages)
    return prefix


def run_python(folder: Path, code: str) -> str:
    """What code prints in an installation."""
    done = subprocess.run([folder / "bin/python", "-c", code], cwd="/", capture_output=True, text=True, check=True)
    return done.stdout.strip()


@contextmanager
def running_from(file: Path) -> Iterator[None]:
    """A process that has loaded the file."""
    code = "import mmap, time; it = mmap.mmap(0, 0, prot=mmap.PROT_READ); print(flush=True); time.sleep(600)"
    with file.open("rb") as opened:
        process = subprocess.Popen([sys.executable, "-c", code], stdin=opened, stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None and process.stdout.readline() == b"\n"
        try:
            yield
        finally:
            process.kill()


VERSION = "from importlib import metadata; print(metadata.version('nowait'))"


def test_an_upgrade_is_whole_or_changes_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path = tmp_path / "the folder"
    tmp_path.mkdir()
    folder, script = tmp_path / "nowait", source / "deploy/install.sh"
    # As earlier versions left it: the folder itself is the environment.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (folder / "made").touch()
    (folder / "first").write_text("library")
    requirements = source / "deploy/requirements/server.txt"
    requirements.write_text("./no-such-package.whl\n")
    assert run(script, "server", folder).returncode == 1
    assert (folder / "first").exists()

    requirements.write_text("")
    done = run(script, "server", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    versions = tmp_path / "nowait.versions"
    assert (versions / "0/first").exists(), "the environment before this one is kept"
    first = installed(folder)
    assert first == str(versions / "1")
    assert run_python(folder, VERSION) == "1.2.3"
    leftover = run_python(folder, "from importlib.util import find_spec; print(find_spec('setuptools_scm'))")
    assert leftover == "None", "what builds the library does not stay"
    server = subprocess.run([folder / "bin/nowait-server"], cwd="/", capture_output=True, text=True)
    # Without its dependencies it ends with a traceback.
    assert str(versions / "1") in server.stderr, "a server runs from its own version, not through the link"

    requirements.write_text("./no-such-package.whl\n")
    assert run(script, "server", folder).returncode == 1
    assert installed(folder) == first

    requirements.write_text("")
    monkeypatch.setenv("SETUPTOOLS_SCM_PRETEND_VERSION", "1.3.0")  # as an image has it that is built without git
    # Somebody would end it as the link is switched.
    switch = tmp_path.parent / "programs/mv"
    switch.parent.mkdir()
    switch.write_text(f'#!/bin/sh\n{shutil.which("mv")} "$@" && kill -TERM $PPID\n')
    switch.chmod(0o755)
    (versions / "00").mkdir()  # of a version before
    with running_from(versions / "0/first"):
        done = run(script, "server", folder, PATH=f"{switch.parent}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert installed(folder) == str(versions / "2")
    assert run_python(folder, VERSION) == "1.3.0"
    assert {path.name for path in versions.iterdir()} == {"0", "1", "2", "lock"}, "a process runs from 0"
    assert {path.name for path in tmp_path.iterdir()} == {"nowait", "nowait.versions"}
    (application,) = folder.glob("lib/python3*/site-packages/server")
    for path in (application, *application.rglob("*")):
        assert path.stat().st_mode & 0o077 == (0o055 if path.is_dir() else 0o044), "the service's user reads it"


@pytest.mark.parametrize("noted", [True, False])
def test_a_part_does_not_take_the_place_of_another(tmp_path: Path, noted: bool) -> None:
    installed = tmp_path / "nowait.versions/1"
    (installed / "lib/python3.11/site-packages/server").mkdir(parents=True)  # as earlier versions left it
    if noted:
        (installed / "part").write_text("server\n")
    (tmp_path / "nowait.versions/lock").touch()
    (tmp_path / "nowait").symlink_to("nowait.versions/1")
    done = run(INSTALL, "migrate", tmp_path / "nowait")
    assert done.returncode == 2
    assert f"Install migrate into a folder of its own, such as {tmp_path}/nowait-migrate" in done.stderr
    assert (tmp_path / "nowait").resolve() == installed
