"""A foreign project: its environment, which has the wheel and not this tree, and a folder with the pages' files."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.process import Process
from tests.docs.conftest import Launch, copy_tree
from tests.docs.pages import blocks, files

PAGES = ("docs/own-project.md", "docs/worker.md")
INSTALL, _ = blocks("docs/own-project.md", "sh")
REQUIREMENTS = Path(__file__).parents[1] / "requirements.txt"


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a new environment, installed as on the page, with pinned versions of all others."""
    folder = tmp_path_factory.mktemp("environment")
    checkout = copy_tree(folder / "checkout")
    programs = folder / "venv/bin"
    commands = [
        f"{shlex.quote(sys.executable)} -m venv {folder}/venv",
        f"python -m pip install --quiet --no-compile --require-hashes -r {REQUIREMENTS}",
        *INSTALL.splitlines(),
    ]
    for command in commands:
        done = subprocess.run(
            command, shell=True, cwd=checkout, env=environment(programs), capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return programs


def environment(programs: Path) -> dict[str, str]:
    """This process's environment with other programs first, and without what leads to this tree."""
    return {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": ""}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder with the files of the pages."""
    for page in PAGES:
        for name, content in files(page).items():
            (tmp_path / name).write_text(content)
    return tmp_path


Run = Callable[..., Process]


@pytest.fixture
def run(programs: Path, vhost: str, launch: Launch, project: Path) -> Run:
    """Starts a command of a page in the project's folder, `run(command, *more, **variables)`."""

    def run(command: str, *more: str, **variables: str) -> Process:
        program, *arguments = shlex.split(command)
        variables = {"PYTHONPATH": "", "BROKER_URL": vhost, **variables}
        return launch(program, str(programs / program), *arguments, *more, cwd=project, **variables)

    return run


Printed = Callable[..., str]


@pytest.fixture
def prints(programs: Path, vhost: str, project: Path) -> Printed:
    """Runs a command of a page to its end, `prints(command, **variables)`; returns what it prints."""

    def prints(command: str, **variables: str) -> str:
        variables = {**environment(programs), "BROKER_URL": vhost, **variables}
        arguments = shlex.split(command)
        done = subprocess.run(arguments, cwd=project, env=variables, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return prints
