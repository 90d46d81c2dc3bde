"""The suite takes down all that it started, however it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests import marks
from tests.conftest import BACKGROUND, ROOT


@pytest.fixture
def folder() -> Iterator[Path]:
    """For the suite's own folders: with a short name, as sockets are in there."""
    with TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["alone", "parallel"])
@pytest.mark.parametrize(
    ("test", "number", "status"),
    [
        ("test_that_fails", None, 1),
        ("test_that_hangs", signal.SIGINT, 2),
        ("test_that_hangs", signal.SIGTERM, 2),
        ("test_that_hangs", signal.SIGKILL, -9),
    ],
)
def test_nothing_is_left_behind(
    folder: Path, test: str, number: int | None, status: int, options: list[str]
) -> None:
    mark = marks.new()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("NOWAIT_", "PYTEST_"))}
    output = folder / "output"
    with output.open("w") as file:
        suite = subprocess.Popen(
            [*BACKGROUND, sys.executable, "-m", "pytest", "-s", f"tests/probe.py::{test}"]
            + ["--basetemp", str(folder / "temp"), *options],
            cwd=ROOT,
            env={**environment, marks.NAME: mark},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        if number is not None:
            deadline = time.monotonic() + 60
            while "the services are up" not in output.read_text():
                assert suite.poll() is None and time.monotonic() < deadline, output.read_text()
                time.sleep(0.05)
            assert set(marks.carriers(mark)) >= {"beam.smp", "mariadbd"}
            suite.send_signal(number)
        assert suite.wait(90) == status, output.read_text()
    finally:
        suite.kill()
        suite.wait()
    deadline = time.monotonic() + 20
    while left := marks.carriers(mark):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
