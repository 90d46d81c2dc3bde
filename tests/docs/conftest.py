"""A copy of the tree, and the wheel that is built from it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

_LEFT_OUT = shutil.ignore_patterns(".*", "build", "bench", "dist", "*.egg-info", "__pycache__")


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree: building leaves files behind."""
    folder = tmp_path_factory.mktemp("checkout") / "nowait"
    shutil.copytree(ROOT, folder, ignore=_LEFT_OUT)
    return folder


@pytest.fixture(scope="session")
def wheel(checkout: Path) -> Path:
    """The wheel, built by the pinned setuptools of this environment."""
    folder = checkout / "dist"
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, "."],
        cwd=checkout,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        check=True,
        timeout=120,
    )
    (built,) = folder.iterdir()
    return built
