"""A whole server for programs that send it anything, and those programs, in an environment of their own."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.process import Process, free_port
from tests.conftest import ROOT, Start, celery_worker, printed, ready
from tests.environments import programs_of
from tests.server.key_files import Keys

HERE = Path(__file__).parent


class Fuzz:
    """Schemathesis, as several processes at once.

    Not by its workers: those are threads, and no two of Python 3.11 may use `ast.parse` at once.

    Args:
        command: what all of its processes have in common.
        folder: where they run and leave what they print.
        timeout: seconds in which each of them ends.
    """

    def __init__(self, command: list[str], folder: Path, timeout: float) -> None:
        self._command = command
        self._folder = folder
        self._timeout = timeout
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("NOWAIT_")}
        self._environment["PYTHONPATH"] = str(ROOT)

    def run(self, *runs: list[str]) -> list[int]:
        """A process for each of these options. Returns their statuses, 0 for one that has found nothing.

        What they print is the test's output, one after the other.
        """
        processes = [self._start(options) for options in runs]
        try:
            return [process.wait(self._timeout) for process in processes]
        finally:
            for process in processes:
                process.kill()
                print(printed(process))

    def _start(self, options: list[str]) -> Process:
        # What it has found is kept where it runs, and tried again the next time.
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        command = [*self._command, *options]
        return Process("Schemathesis", command, env=self._environment, cwd=folder, output=folder / "printed.txt")


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
def fuzzing(stack: dict[str, str], start: Start, tmp_path: Path) -> Iterator[Callable[..., Fuzz]]:
    """Makes a server of that stack, with settings of its own, and what fuzzes it."""
    if sys.version_info < (3, 11):
        pytest.skip("Schemathesis needs Python 3.11")
    program = programs_of("openapi", HERE / "requirements.txt") / "st"
    servers: list[Process] = []

    def make(examples: int, seed: int, timeout: float, **settings: object) -> Fuzz:
        port = free_port()
        servers.append(start("server", "server", port=port, **stack, **settings))
        config = (HERE / "schemathesis.toml").read_text()
        if "keys" in settings:
            # Whatever is sent may be refused to a key.
            config = config.replace('"404"', '"401", "403", "404", "429"')
        (tmp_path / "schemathesis.toml").write_text(config)
        url = f"{ready(servers[-1], port)}/openapi.json"
        options = f"run {url} --max-examples {examples} --seed {seed}".split()
        return Fuzz([str(program), "--config-file", str(tmp_path / "schemathesis.toml"), *options], tmp_path, timeout)

    yield make
    # Others' jobs are in the same database: it would look after them.
    for server in servers:
        server.kill()
