"""A whole server for programs that send it anything, and those programs, in an environment of their own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.process import free_port
from tests.conftest import ROOT, Start, celery_worker, ready
from tests.environments import programs_of

HERE = Path(__file__).parent
Fuzz = Callable[[int, int, float], int]


@pytest.fixture
def fuzzed_url(vhost: str, database_url: str, start: Start) -> str:
    """The URL of a server with workers, jobs and queries of each type, all of it apart from that of other tests."""
    settings = {"broker_url": vhost, "database_url": database_url, "queries": str(HERE / "sql")}
    queues = "queries,queries.fast,queries.catalogue,queries.streams"
    celery_worker(start, "tasks", "-P", "threads", "-c", "20", "-Q", queues, **settings)
    # Apart: jobs may take as long as somebody asks for.
    celery_worker(start, "tasks", "-P", "threads", "-c", "20", "-Q", "queries.jobs", **settings)
    port = free_port()
    # Nobody consumes the queue.
    server = start("server", "server", port=port, demo=1, queues="parcels:1000000", **settings)
    return ready(server, port)


@pytest.fixture
def fuzz(fuzzed_url: str, tmp_path: Path) -> Fuzz:
    """Runs Schemathesis against that server, `fuzz(examples, seed, timeout)`, with so many examples of each operation.

    Returns its status: 0 when it has found nothing. What it prints is the test's output.
    """
    if sys.version_info < (3, 11):
        pytest.skip("Schemathesis needs Python 3.11")
    programs = programs_of("openapi", HERE / "requirements.txt")

    def run(examples: int, seed: int, timeout: float) -> int:
        command = [
            programs / "st", "--config-file", HERE / "schemathesis.toml", "run", f"{fuzzed_url}/openapi.json",
            "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", str(examples),
            "--seed", str(seed),
        ]  # fmt: skip
        environment = {key: value for key, value in os.environ.items() if not key.startswith("NOWAIT_")}
        environment["PYTHONPATH"] = str(ROOT)
        # What it has found is kept where it runs, and tried again the next time.
        return subprocess.run(command, env=environment, cwd=tmp_path, timeout=timeout).returncode

    return run
