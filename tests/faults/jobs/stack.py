"""Broker, database, servers and workers for the fault tests of jobs: each may be ended and started again."""

import asyncio
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from deploy.local import sample
from deploy.local.broker import Broker
from deploy.local.database import Database
from deploy.local.process import Process, free_port, listens
from nowait.database_url import DatabaseUrl
from nowait.jobs.migrations import migrate
from tests.conftest import Start, celery_worker
from tests.faults.jobs.journal import Journal
from tests.faults.proxy import Proxy

T = TypeVar("T")
WORKER = "-P threads -c 8 -Q queries.jobs -I tests.faults.jobs.functions".split()


class GivenDatabase:
    """One that the environment names: it is neither started nor stopped, and a test that would do that is skipped.

    Args:
        url: of it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.port = DatabaseUrl.parse(url).port

    @property
    def process(self) -> Process:
        pytest.skip("the given database is not to be stopped")

    def start(self) -> None: ...

    def wait_ready(self) -> None: ...

    def stop(self) -> None: ...


class Stack:
    """What jobs run on.

    Args:
        folder: for what broker and database keep.
        start: the fixture, which ends the programs with the run.
        proxy: between each worker and the broker, the first one's alone.
        servers, workers: how many.
        options: of the database's server.
        programs: the modules that are run as the server and as Celery.
        settings: further ones of both.
        database_url: of a given, empty database; None for one that is this stack's alone.

    Attributes:
        broker, database: what the programs use.
        servers, workers: the processes, in the order of their numbers.
        urls: of the servers.
        journal: of the database.
        worker_options: of Celery's command line.
    """

    worker_options = WORKER

    def __init__(
        self,
        folder: Path,
        start: Start,
        *,
        servers: int = 2,
        workers: int = 2,
        options: tuple[str, ...] = (),
        programs: tuple[str, str] = ("server", "celery"),
        settings: dict[str, str] | None = None,
        database_url: str | None = None,
    ) -> None:
        self.broker = Broker(folder / "broker")
        self.database: Database | GivenDatabase = Database(folder / "database", options=list(options))
        if database_url is not None:
            self.database = GivenDatabase(database_url)
        self.journal = Journal(self.database.url)
        self._start = start
        self._server_module, self._celery_module = programs
        self._settings = settings or {}
        self._ports = [free_port() for _ in range(servers)]
        self._count = workers
        self.urls = [f"http://127.0.0.1:{port}" for port in self._ports]
        self.servers: list[Process] = []
        self.workers: list[Process] = []
        self.proxy: Proxy | None = None
        # Of its own: what a thread has started ends with it, and a loop's threads end with the loop.
        self._threads = ThreadPoolExecutor()

    async def begin(self, proxied: bool = True) -> None:
        """Start all of it. A proxy lives no longer than this loop; without one there is no black_hole()."""
        await self._apart(self._begin_services)
        if proxied:
            self.proxy = await Proxy(self.broker.port).__aenter__()
        starting = [self._apart(self._worker, number) for number in range(self._count)]
        starting += [self._apart(self._server, number) for number in range(len(self._ports))]
        started = await asyncio.gather(*starting)
        self.workers, self.servers = started[: self._count], started[self._count :]

    async def end(self) -> None:
        """End all of it."""
        for process in (*self.servers, *self.workers):
            process.kill()
        if self.proxy is not None:
            await self.proxy.__aexit__()
        await self._apart(self.broker.stop)
        await self._apart(self.database.stop)
        self._threads.shutdown()

    async def restart_server(self, number: int) -> None:
        """SIGKILL, and a new one."""
        self.servers[number].kill()
        self.servers[number] = await self._apart(self._server, number)

    async def restart_worker(self, number: int) -> None:
        """SIGKILL, and a new one."""
        self.workers[number].kill()
        self.workers[number] = await self._apart(self._worker, number)

    async def restart_broker(self) -> None:
        """SIGKILL, and the same one again."""
        self.broker.process.kill()
        await self._apart(self._up, self.broker)

    async def restart_database(self) -> None:
        """SIGKILL, and the same one again."""
        self.database.process.kill()
        await self._apart(self._up, self.database)

    async def freeze(self, process: Process, seconds: float) -> None:
        """SIGSTOP, and SIGCONT behind it."""
        process.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            process.signal(signal.SIGCONT)

    async def alarm(self, seconds: float) -> None:
        """Have the broker take no messages."""
        control: Callable[..., Any] = partial(self._apart, self.broker.control, "set_vm_memory_high_watermark")
        await control("absolute", "1MB")
        try:
            await asyncio.sleep(seconds)
        finally:
            await control("0.4")

    async def black_hole(self, seconds: float) -> None:
        """Have nothing pass between the first worker and the broker, although nothing is closed."""
        assert self.proxy is not None
        self.proxy.stall(0)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.proxy.hang_up()
            self.proxy.accept()

    async def _apart(self, function: Callable[..., T], *args: Any) -> T:
        """What a function returns that blocks."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def broker_url(self, user: str) -> str:
        """The URL by which servers ("server") and workers ("worker") reach the broker."""
        return self.broker.url

    def _begin_services(self) -> None:
        self.broker.start()
        self._begin_database()
        self.broker.wait_ready()

    def _begin_database(self) -> None:
        self.database.start()
        self.database.wait_ready()
        sample.load(self.database.url)
        migrate(self.database.url)
        self.journal.open()

    def _up(self, service: Broker | Database | GivenDatabase) -> None:
        service.start()
        port = service.port
        service.process.wait_until(lambda: listens(port), 90.0)
        service.wait_ready()

    def _worker(self, number: int) -> Process:
        broker = self.broker_url("worker")
        if number == 0 and self.proxy is not None:
            broker = broker.replace(f":{self.broker.port}/", f":{self.proxy.port}/")
        settings = {"broker_url": broker, "database_url": self.database.url, **self._settings}
        return celery_worker(self._start, "tasks", *self.worker_options, celery=self._celery_module, **settings)

    def _server(self, number: int) -> Process:
        port = self._ports[number]
        settings = {"broker_url": self.broker_url("server"), "database_url": self.database.url, **self._settings}
        server = self._start("server", self._server_module, port=port, **settings)
        server.wait_until(lambda: listens(port), 60.0)
        return server
