"""kustomize, which Debian 12 does not have: of Debian 13, unpacked and not installed."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from deploy.local.errors import LocalError
from tests.conftest import ROOT

_FOLDER = ROOT / ".local" / "kustomize"
_SOURCE = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main\n"


def kustomize() -> str:
    """The path of the program: the machine's own, or Debian's, fetched once by apt.

    Raises LocalError when there is none.
    """
    if found := shutil.which("kustomize"):
        return found
    program = _FOLDER / "usr/bin/kustomize"
    _FOLDER.parent.mkdir(exist_ok=True)
    # Tests that run side by side may both be the first.
    with _FOLDER.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _fetch(_FOLDER)
    return str(program)


def _fetch(folder: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise LocalError("kustomize is not installed, and without apt it cannot be had")
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "sources.list").write_text(_SOURCE)
    options = {
        "Dir::Etc::sourcelist": folder / "sources.list", "Dir::Etc::sourceparts": "/nonexistent",
        "Dir::State::lists": folder / "lists", "Dir::Cache": folder / "cache",
        # By this user, who owns the folder.
        "APT::Sandbox::User": "", "Debug::NoLocking": "1",
    }  # fmt: skip
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    _run([*apt, "update"], folder)
    _run([*apt, "download", "kustomize"], folder)
    (package,) = folder.glob("kustomize_*.deb")
    _run(["dpkg-deb", "-x", str(package), str(folder)], folder)
    for used in (package, folder / "lists", folder / "cache"):
        shutil.rmtree(used) if used.is_dir() else used.unlink()


def _run(command: list[str], folder: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise LocalError(f"kustomize is not installed, and cannot be had: {(done.stdout + done.stderr).strip()[-300:]}")
