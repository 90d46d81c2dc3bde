"""What is measured, as processes: broker, database, workers, servers."""

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import kombu
import psutil

from deploy.local import sample
from deploy.local.errors import LocalError
from deploy.local.process import Process, free_port
from deploy.local.services import Services
from tests import programs
from tests.bench.tools import PROGRAMS
from tests.http import fetch

ROOT = Path(__file__).resolve().parents[2]
_START_TIMEOUT = 60.0


@dataclass(frozen=True)
class Kind:
    """A kind of Celery worker that is measured.

    Attributes:
        name: in the names of its queues.
        title: in words.
        prefetch: the messages that a worker of it fetches ahead: as many as it is fastest with.
        settings: what makes a worker of the test application one of it.
    """

    name: str
    title: str
    prefetch: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    def options(self, pool: str, concurrency: int) -> list[str]:
        """On the command line of `celery worker`."""
        ahead = str(self.prefetch // concurrency)
        return ["-P", pool, "-c", str(concurrency), "--prefetch-multiplier", ahead]


# Celery's manual advises many messages at hand for short tasks; 50 callers are answered as fast by Nowait's with 32.
STOCK = Kind("stock", "stock Celery worker", 128)
OURS = Kind(
    "ours", "Nowait's worker", 32,
    {"test_backend": "nowait.worker:Results", "test_consumer": "nowait.worker:Consumer"},
)  # fmt: skip
THREADS = 8  # of each worker with threads


class Site:
    """Broker and database, from the environment or private; started programs end with clear(), or the block.

    Args:
        folder: for private services and for what the programs print.

    Attributes:
        folder: the same.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = ExitStack()
        self._programs: list[Process] = []
        self._runs = 0
        self.services = Services(folder)

    def __enter__(self) -> "Site":
        with self._stack:
            programs.require(*PROGRAMS)
            self._stack.callback(self.services.stop)
            self._stack.callback(self.clear)
            self.services.start()
            if self.services.database is not None:
                sample.load(self.services.database_url)
            elif not sample.exists(self.services.database_url):
                raise LocalError("the database has no table users: `make sample` loads one")
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def start(self, name: str, *command: str, root: Path = ROOT, **settings: Any) -> Process:
        """`python -m command` in a folder, with these NOWAIT_ settings, until stop() or the end."""
        environment = {f"NOWAIT_{key.upper()}": str(value) for key, value in settings.items()}
        return self.run(name, [sys.executable, "-m", *command], environment, root)

    def run(self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Process:
        """A program that knows the services, until stop() or the end."""
        self._runs += 1
        process = Process(
            name,
            command,
            env={**os.environ, **self.services.environment(), **environment},
            cwd=folder,
            output=self.folder / f"{self._runs}-{name}.log",
        )
        self._programs.append(process)
        return process

    def clear(self) -> None:
        """Stop all programs that were started, side by side: an idle one would take its part of the machine."""
        for process in self._programs:
            process.terminate()
        while self._programs:
            self._programs.pop().stop()

    def worker(self, app: str, queue: str, *arguments: str, root: Path = ROOT, **settings: Any) -> Process:
        """A worker that consumes a queue, one of several or alone."""
        node = f"{self._runs}.{queue}@bench"
        command = f"celery -A {app} worker -l WARNING --without-gossip --without-mingle -n {node}".split()
        worker = self.start(f"worker-{queue}", *command, *arguments, root=root, **settings)
        consumers = sum(program.name == worker.name for program in self._programs)
        worker.wait_until(lambda: self.depth(queue)[1] >= consumers, _START_TIMEOUT)
        return worker

    def echo_worker(self, kind: Kind, queue: str, pool: str = "threads", concurrency: int = THREADS) -> Process:
        """A worker of the test application, whose test.echo returns its argument."""
        options = kind.options(pool, concurrency)
        return self.worker("tests.celeryapp", queue, *options, "-Q", queue, **kind.settings)

    def query_worker(self, queries: Path = ROOT / "tasks/sql", threads: int = 100) -> Process:
        """A worker of the queries in a folder, with threads for so many of them at once."""
        return self.worker("tasks", "queries", "-P", "threads", "-c", str(threads), queries=queries)

    def server(self, name: str, path: str, *command: str, root: Path = ROOT, **settings: Any) -> tuple[Process, str]:
        """A server, and its URL once it answers 200 at `path`; PORT in the command is its port."""
        port = free_port()
        arguments = [str(port) if argument == "PORT" else argument for argument in command]
        process = self.start(name, *arguments, root=root, port=port, **settings)
        url = f"http://127.0.0.1:{port}"
        process.wait_until(lambda: fetch(url + path).status == 200, _START_TIMEOUT)
        return process, url

    def broker(self) -> list[Process]:
        """The broker's process; none when the environment names a broker."""
        return [self.services.broker.process] if self.services.broker else []

    def database(self) -> list[Process]:
        """The database's process; none when the environment names a database."""
        return [self.services.database.process] if self.services.database else []

    def depth(self, queue: str) -> tuple[int, int]:
        """The messages that wait in a queue, and its consumers; 0 and 0 when it is not there."""
        with kombu.Connection(self.services.broker_url) as connection:
            channel: Any = connection.default_channel
            try:
                found = channel.queue_declare(queue, passive=True)
            except connection.channel_errors:
                return 0, 0
            return int(found.message_count), int(found.consumer_count)

    def purge(self, queue: str) -> None:
        """Take all messages out of a queue."""
        with kombu.Connection(self.services.broker_url) as connection:
            connection.default_channel.queue_purge(queue)


def memory(process: Process) -> float:
    """Megabytes that a process and its children have for themselves, and their shares of what they share."""
    main = psutil.Process(process.pid)
    used = float(main.memory_full_info().pss)
    for child in main.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            used += child.memory_full_info().pss
    return used / 1e6


def cpu(*processes: Process) -> float:
    """Seconds of CPU that processes and their children have used."""
    used = 0.0
    for process in processes:
        main = psutil.Process(process.pid)
        for one in (main, *main.children(recursive=True)):
            times = one.cpu_times()
            used += times.user + times.system
    return used
