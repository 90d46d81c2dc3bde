"""A whole server for programs that send it anything, and those programs, in an environment of their own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.process import free_port
from tests.conftest import ROOT, Start, celery_worker, ready
from tests.environments import programs_of
from tests.server.key_files import Keys

HERE = Path(__file__).parent
Fuzz = Callable[..., int]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """A file of keys."""
    return Keys(tmp_path / "keys.json")


@pytest.fixture
def stack(vhost: str, database_url: str, start: Start) -> Iterator[dict[str, str]]:
    """The settings of a server with workers, jobs and queries of each type, apart from those of other tests."""
    settings = {"broker_url": vhost, "database_url": database_url, "queries": str(HERE / "sql")}
    queues = "queries,queries.fast,queries.catalogue,queries.streams"
    workers = [celery_worker(start, "tasks", "-P", "threads", "-c", "20", "-Q", queues, **settings)]
    # Apart: jobs may take as long as somebody asks for.
    workers.append(celery_worker(start, "tasks", "-P", "threads", "-c", "20", "-Q", "queries.jobs", **settings))
    # Nobody consumes the queue.
    yield {**settings, "queues": "parcels:1000000"}
    for worker in workers:
        worker.kill()


@pytest.fixture
def fuzz(stack: dict[str, str], start: Start, tmp_path: Path) -> Fuzz:
    """Runs Schemathesis against a server of that stack, with so many examples of each operation.

    `fuzz(examples, seed, timeout, *options, **settings)`: options of its own, and settings of the server. Returns its
    status: 0 when it has found nothing. What it prints is the test's output.
    """
    if sys.version_info < (3, 11):
        pytest.skip("Schemathesis needs Python 3.11")
    programs = programs_of("openapi", HERE / "requirements.txt")

    def run(examples: int, seed: int, timeout: float, *options: str, **settings: object) -> int:
        port = free_port()
        server = start("server", "server", port=port, **stack, **settings)
        url = ready(server, port)
        config = (HERE / "schemathesis.toml").read_text()
        if "keys" in settings:
            # Whatever is sent may be refused to a key.
            config = config.replace('"404"', '"401", "403", "404", "429"')
        (tmp_path / "schemathesis.toml").write_text(config)
        command = [
            programs / "st", "--config-file", tmp_path / "schemathesis.toml", "run", f"{url}/openapi.json",
            "--max-examples", str(examples), "--seed", str(seed), *options,
        ]  # fmt: skip
        environment = {key: value for key, value in os.environ.items() if not key.startswith("NOWAIT_")}
        environment["PYTHONPATH"] = str(ROOT)
        # What it has found is kept where it runs, and tried again the next time.
        try:
            return subprocess.run(command, env=environment, cwd=tmp_path, timeout=timeout).returncode
        finally:
            # Others' jobs are in the same database: it would look after them.
            server.kill()

    return run
