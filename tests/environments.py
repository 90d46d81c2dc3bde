"""Environments of their own, for what does not go together with the tests' dependencies."""

import contextlib
import fcntl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from deploy.local.errors import LocalError


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One process after another makes what is to be in a folder; that of the folder is made if need be."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def environment(folder: Path, requirements: Path) -> Path:
    """The folder of the programs of an environment, which is made when it is not there, or older than what it needs.

    Raises LocalError when it cannot be installed.
    """
    with alone(folder):
        made = folder / "made"
        if not made.exists() or made.stat().st_mtime < requirements.stat().st_mtime:
            print(f"installing {folder.name} into its own environment", flush=True)
            pip = [str(folder / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
            for command in (
                [sys.executable, "-m", "venv", "--clear", str(folder)],
                [*pip, "install", "--require-hashes", "-r", str(requirements)],
            ):
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode != 0:
                    raise LocalError(f"it cannot be installed: {(done.stdout + done.stderr).strip()[-300:]}")
            made.touch()
    return folder / "bin"
