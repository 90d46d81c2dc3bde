"""The programs of others, in an environment of their own."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.process import Process
from tests.environments import programs_of
from tests.page.conftest import browser

Run = Callable[..., Process]


@pytest.fixture(scope="session")
def neighbours() -> Path:
    """The folder of the programs of Django, Flower and others."""
    return programs_of("neighbours", Path(__file__).with_name("requirements.txt"))


@pytest.fixture(scope="module")
def run(neighbours: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Starts one of the programs, `run(program, *arguments, cwd=folder, **variables)`, until the module's end.

    It gets this process's environment without its settings, and the variables. What it prints is in the file
    `process.output`.
    """
    logs = tmp_path_factory.mktemp("neighbours")
    started: list[Process] = []

    def run(program: str, *arguments: str, cwd: Path, **variables: str) -> Process:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("NOWAIT_")}
        command = [str(neighbours / program), *arguments]
        output = logs / f"{program}-{len(started)}.log"
        process = Process(program, command, env={**environment, "PYTHONPATH": "", **variables}, cwd=cwd, output=output)
        started.append(process)
        return process

    yield run
    for process in reversed(started):
        process.kill()


__all__ = ["browser"]
