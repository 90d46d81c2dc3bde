"""The services and processes that the tests use: real ones, started once, taken down always."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pymysql
import pytest
import trustme
from tornado.ioloop import IOLoop

from deploy.local import sample
from deploy.local.broker import Broker
from deploy.local.database import Database
from deploy.local.process import Process, free_port
from deploy.local.services import Services
from nowait.database_url import DatabaseUrl
from tests.http import fetch

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--scale", type=float, default=0, help="length of the fault tests: 0 for the shortest, 1 for the full table"
    )


@pytest.fixture(scope="session")
def scale(pytestconfig: pytest.Config) -> float:
    """How long the tests are: 0 for each fault once and short, 1 for the full table."""
    return float(pytestconfig.getoption("--scale"))


def pytest_configure() -> None:
    # SIGTERM ends the run as Ctrl-C does, through the ends of the fixtures.
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


@pytest.fixture
def io_loop() -> Iterator[IOLoop]:
    """The loop of one test, in place of pytest-tornado's; what is lost on it fails the test."""
    loop = asyncio.new_event_loop()
    lost: list[Any] = []
    loop.set_exception_handler(lambda _loop, context: lost.append(context))
    asyncio.set_event_loop(loop)
    yield IOLoop.current()
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    asyncio.set_event_loop(None)
    gc.collect()
    assert not lost, lost


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Broker and database: the environment's, else private ones; with the sample data."""
    services = Services(tmp_path_factory.mktemp("services"))
    if services.broker is not None:
        services.broker.config = ""  # no limit: what one lets through is tested, too
    try:
        services.start()
        sample.load(services.database_url)
        yield services
    finally:
        services.stop()


@pytest.fixture(scope="session")
def tls_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database with the sample data, reached with TLS alone; its certificate is for 127.0.0.1, see trusted()."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "database.pem"))
    issued.private_key_pem.write_to_path(str(folder / "database.key"))
    files = [f"--ssl-cert={folder}/database.pem", f"--ssl-key={folder}/database.key"]
    database = Database(folder, options=[*files, "--require-secure-transport=ON"])
    try:
        database.start()
        database.wait_ready()
        sample.load(database.url)
        yield database
    finally:
        database.stop()


@pytest.fixture
def trusted(tls_database: Database, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of that database, while this process and those that it starts trust its authority."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_database.directory / "ca.pem"))
    return f"{tls_database.url}?tls=1"


@pytest.fixture(scope="session")
def private_broker(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that may be told what to do, though not stopped: tests share it."""
    if services.broker is not None:
        yield services.broker
        return
    broker = Broker(tmp_path_factory.mktemp("broker"))
    try:
        broker.start()
        broker.wait_ready()
        yield broker
    finally:
        broker.stop()


@pytest.fixture
def vhost(private_broker: Broker) -> Iterator[str]:
    """The URL of an empty broker: a virtual host for one test alone."""
    name = uuid4().hex
    private_broker.control("add_vhost", name)
    private_broker.control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
    yield f"amqp://guest:guest@127.0.0.1:{private_broker.port}/{name}"
    private_broker.control("delete_vhost", name)


Start = Callable[..., Process]


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts programs, `start(name, *command, **settings)`, and stops them at the end.

    Settings are NOWAIT_ variables in lower case. What a program prints is in the file `process.output`.
    They run by this Python, or by `python`.
    """
    logs = tmp_path_factory.mktemp("logs")
    started: list[Process] = []

    def start(name: str, *command: str, python: str = sys.executable, **settings: Any) -> Process:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("NOWAIT_")}
        environment |= {f"NOWAIT_{key.upper()}": str(value) for key, value in settings.items()}
        output = logs / f"{name}-{len(started)}.log"
        process = Process(name, [python, "-m", *command], env=environment, cwd=ROOT, output=output)
        started.append(process)
        return process

    yield start
    for process in reversed(started):
        process.terminate()
    for process in reversed(started):
        process.stop()


def printed(process: Process) -> str:
    """All that a program started by `start` has printed."""
    assert isinstance(process.output, Path)
    return process.output.read_text(errors="replace")


def celery_worker(start: Start, app: str, *arguments: str, **settings: Any) -> Process:
    """A worker that is ready to work; settings as for `start`."""
    process = start(
        "worker",
        *f"celery -A {app} worker -l INFO -n {uuid4().hex}@tests --without-gossip --without-mingle".split(),
        *arguments,
        **settings,
    )
    process.wait_until(lambda: " ready." in printed(process), 60.0)
    return process


@pytest.fixture(scope="session")
def test_worker(services: Services, start: Start) -> Process:
    """A worker of `tests.celeryapp`, on the queue "tests"."""
    return celery_worker(start, "tests.celeryapp", "-P", "threads", "-c", "20", **services_settings(services))


@pytest.fixture(scope="session")
def worker(services: Services, start: Start) -> Process:
    """A worker of `tasks`, with 200 threads."""
    return celery_worker(start, "tasks", "-P", "threads", "-c", "200", **services_settings(services))


@pytest.fixture(scope="session")
def server_url(services: Services, worker: Process, start: Start) -> str:
    """The URL of a whole stack: server, broker, worker, database."""
    port = free_port()
    server = start("server", "server", port=port, demo=1, **services_settings(services))
    return ready(server, port)


def ready(server: Process, port: int) -> str:
    """The URL of a server, once /readyz answers 200."""
    url = f"http://127.0.0.1:{port}"
    server.wait_until(lambda: fetch(f"{url}/readyz").status == 200, 60.0)
    return url


def services_settings(services: Services) -> dict[str, str]:
    """The settings that make a program use the services."""
    return {"broker_url": services.broker_url, "database_url": services.database_url}


@pytest.fixture(scope="session")
def sleeping(services: Services) -> Callable[[], int]:
    """How many sample queries sleep in the database at this moment."""
    options = DatabaseUrl.parse(services.database_url).options()

    def count() -> int:
        connection = pymysql.connect(**options)
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'User sleep'")
            (found,) = cursor.fetchone()
            return int(found)

    return count
