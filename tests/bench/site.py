"""What is measured, as processes: broker, database, workers, servers."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import kombu
import psutil

from deploy.local import programs, sample
from deploy.local.process import Process, free_port
from deploy.local.services import Services
from tests.bench.tools import PROGRAMS
from tests.http import fetch

ROOT = Path(__file__).resolve().parents[2]
_START_TIMEOUT = 60.0


class Site:
    """Broker and database, from the environment or private; started programs end with the block.

    Args:
        folder: for private services and for what the programs print.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self.services = Services(folder)

    def __enter__(self) -> "Site":
        with self._stack:
            programs.require(PROGRAMS)
            self._stack.callback(self.services.stop)
            self.services.start()
            sample.load(self.services.database_url)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def start(self, name: str, *command: str, **settings: Any) -> Process:
        """`python -m command` with these NOWAIT_ settings, until stop() or the end."""
        environment = {**os.environ, **self.services.environment()}
        environment |= {f"NOWAIT_{key.upper()}": str(value) for key, value in settings.items()}
        process = Process(
            name, [sys.executable, "-m", *command], env=environment, cwd=ROOT, output=self._folder / f"{name}.log"
        )
        self._stack.callback(process.stop)
        return process

    def worker(self, app: str, queue: str, *arguments: str, **settings: Any) -> Process:
        """A worker that consumes a queue."""
        command = f"celery -A {app} worker -l WARNING --without-gossip --without-mingle -n {queue}@bench".split()
        worker = self.start(f"worker-{queue}", *command, *arguments, **settings)
        worker.wait_until(lambda: self.depth(queue)[1] > 0, _START_TIMEOUT)
        return worker

    def server(self, name: str, path: str, *command: str, **settings: Any) -> tuple[Process, str]:
        """A server, and its URL once it answers 200 at `path`; PORT in the command is its port."""
        port = free_port()
        arguments = [str(port) if argument == "PORT" else argument for argument in command]
        process = self.start(name, *arguments, port=port, **settings)
        url = f"http://127.0.0.1:{port}"
        process.wait_until(lambda: fetch(url + path).status == 200, _START_TIMEOUT)
        return process, url

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
    return float(sum(one.memory_full_info().pss for one in (main, *main.children(recursive=True)))) / 1e6


def cpu(process: Process) -> float:
    """Seconds of CPU that a process has used."""
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)
