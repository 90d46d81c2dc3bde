"""A copy of the tree, the wheel that is built from it, and programs that run in a folder of their own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.process import Process
from tests.conftest import ROOT

_LEFT_OUT = shutil.ignore_patterns(".*", "build", "bench", "dist", "*.egg-info", "__pycache__")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the tree, to be changed and built in."""
    return copy_tree(tmp_path / "checkout")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the pinned setuptools of this environment."""
    checkout = copy_tree(tmp_path_factory.mktemp("wheel") / "checkout")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "dist", "."],
        cwd=checkout,
        check=True,
        timeout=120,
    )
    (built,) = (checkout / "dist").iterdir()
    return built


def copy_tree(folder: Path) -> Path:
    """Copy what is under version control, about, to a new folder; returns it."""
    shutil.copytree(ROOT, folder, ignore=_LEFT_OUT)
    return folder


Launch = Callable[..., Process]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Starts programs, `launch(name, *command, cwd=folder, **variables)`, and stops them at the end.

    They get this process's environment without its settings, and the variables. What one prints is in the file
    `process.output`.
    """
    started: list[Process] = []

    def launch(name: str, *command: str, cwd: Path, **variables: str) -> Process:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("NOWAIT_")}
        output = tmp_path / f"{name}.log"
        process = Process(name, command, env=environment | variables, cwd=cwd, output=output)
        started.append(process)
        return process

    yield launch
    for process in reversed(started):
        process.stop()
