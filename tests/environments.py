"""Python environments beside the project's, of pinned packages."""

import fcntl
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = (ROOT / ".venv").resolve()  # programs have its path in them


class NotInstalled(Exception):
    """The packages cannot be installed here; the text has the reason."""


def programs_of(name: str, requirements: Path) -> Path:
    """The folder of the programs of an environment, which is made when it is not there, or older than what it holds.

    Args:
        name: its path below `.venv`.
        requirements: the file of its packages, with their hashes.

    Raises NotInstalled.
    """
    folder = ENVIRONMENTS / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Tests that run side by side may both be the first.
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder / "made"
        if not made.exists() or made.stat().st_mtime < requirements.stat().st_mtime:
            _make(folder, requirements)
            made.touch()
    return folder / "bin"


def _make(folder: Path, requirements: Path) -> None:
    print(f"installing {requirements.relative_to(ROOT)} into .venv/{folder.relative_to(ENVIRONMENTS)}", flush=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [*pip, "install", "--no-compile", "--require-hashes", "-r", str(requirements)],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise NotInstalled(f"it cannot be installed: {(done.stdout + done.stderr).strip()[-300:]}")
