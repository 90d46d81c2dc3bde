"""The services and processes that the tests use: real ones, started once, taken down always."""

import asyncio
import gc
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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
from nowait.jobs.migrations import migrate
from tests import parallel, vhosts
from tests.given import new_database
from tests.http import fetch

ROOT = Path(__file__).resolve().parents[1]
# Stands in front of a command that is to be as in the background of a script, where SIGINT is ignored.
BACKGROUND = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh"]

# Real waiting, whole stacks, brokers of their own. Others beside them are no matter; the tests of a file share what
# they stand on.
LONG = (
    "tests/bench", "tests/faults", "tests/docs/project", "tests/deploy/test_run.py", "tests/test_suite.py",
    "tests/deploy/test_install.py", "tests/deploy/test_secrets.py", "tests/deploy/test_audit.py",
    "tests/docs/test_release.py", "tests/system/test_metrics.py", "tests/system/test_processes.py",
    "tests/neighbours", "tests/openapi", "tests/page", "tests/worker/test_lean.py",
    "tests/worker/test_same_as_celery_long.py",
    "tests/system/test_keys.py", "tests/system/test_traces.py",
    "tests/tasks/test_jobs_attempts.py", "tests/tasks/test_jobs_pools.py",
    "tests/server/test_jobs_store.py", "tests/server/test_jobs_relay.py", "tests/server/test_jobs_routes.py",
    "tests/server/test_job_events.py", "tests/server/test_schedules_routes.py", "tests/server/test_schedules_store.py",
    "tests/server/test_job_ends.py", "tests/schedules/test_beat.py", "tests/webhooks/test_deliverer.py",
    "tests/kubernetes", "tests/soak/test_soak.py",
)  # fmt: skip
# More than a minute each: last, one of them would have the other processes wait for it.
LONGEST = (
    "tests/page/test_page.py", "tests/worker/test_same_as_celery_long.py", "tests/openapi/test_fuzz.py",
    "tests/deploy/test_install.py", "tests/test_suite.py", "tests/faults/test_workers.py",
    "tests/faults/test_own_connection.py", "tests/deploy/test_run.py", "tests/bench/test_bench.py",
    "tests/system/test_processes.py", "tests/faults/jobs/test_chaos.py",
)  # fmt: skip
# The workers' pools that are in the long part, too; prefork and threads are those that people use.
LONG_POOLS = {"gevent", "solo"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--scale", type=float, default=0, help="length of the fault tests: 0 for the shortest, 1 for the full table"
    )
    parser.addoption("--part", choices=["short", "long", "measured"], help="run one part of the tests; all otherwise")


def part_of(item: pytest.Item) -> str:
    """The part that a test belongs to: "short", "long" or "measured"."""
    if _is_in(item, parallel.MEASURED + parallel.WAITING):
        return "measured"
    if _is_in(item, LONG):
        return "long"
    callspec = getattr(item, "callspec", None)
    return "long" if callspec is not None and callspec.params.get("pool") in LONG_POOLS else "short"


def _is_in(item: pytest.Item, paths: tuple[str, ...]) -> bool:
    return any(item.path.is_relative_to(ROOT / path) for path in paths)


# Around pytest-randomly's, which shuffles them.
@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    part = config.getoption("--part")
    if part is not None:
        left_out = [item for item in items if part_of(item) != part]
        items[:] = [item for item in items if part_of(item) == part]
        config.hook.pytest_deselected(items=left_out)
    yield
    if hasattr(config, "workerinput"):
        # First come those that take longest, last those that take no time: all processes are done at once.
        items.sort(key=_moment)


def _moment(item: pytest.Item) -> int:
    needs = set(getattr(item, "fixturenames", ()))
    first = "deployment" in needs or _is_in(item, parallel.MEASURED)
    return 0 if first else 1 if _is_in(item, LONGEST) else 2 if {"services", "tmp_path"} & needs else 3


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return parallel.ByFile(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_finish() -> None:
    # Behind each test on a loop comes a collection: it has nothing to find in what is there for all of them.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def scale(pytestconfig: pytest.Config) -> float:
    """How long the tests are: 0 for each fault once and short, 1 for the full table."""
    return float(pytestconfig.getoption("--scale"))


@pytest.hookimpl(trylast=True)  # pytest's own folders are there by then
def pytest_configure(config: pytest.Config) -> None:
    # Both end the run through the ends of the fixtures; a shell's background processes inherit SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    if parallel.owns(config):
        config.pluginmanager.register(parallel.Owner(make_services(config._tmp_path_factory.mktemp("services"))))


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


# RabbitMQ's own bound, 16 MiB since 4.0, is below what a bridge has to stand.
_CONFIG = "max_message_size = 134217728\n"


def make_services(folder: Path) -> Services:
    """Broker and database: the environment's, else private ones; not started yet."""
    services = Services(folder)
    if services.broker is not None:
        services.broker.config = _CONFIG
    return services


@pytest.fixture(scope="session")
def services(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Broker and database, with the sample data and the table of jobs; in a parallel run a part that no other uses."""
    if part := parallel.part(pytestconfig):
        yield part
        return
    services = make_services(tmp_path_factory.mktemp("services"))
    try:
        services.start()
        sample.load(services.database_url)
        migrate(services.database_url)
        yield services
    finally:
        services.stop()


# What a server of today has by default, and one of tomorrow: a transaction has to ask for another level.
_ISOLATION = ["--transaction-isolation=REPEATABLE-READ", "--loose-innodb-snapshot-isolation=ON"]


@pytest.fixture(scope="session")
def private_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database with the sample data and the table of jobs, which no relay of a server looks after.

    Tests may freeze and kill it, and leave it running.
    """
    database = Database(tmp_path_factory.mktemp("jobs"), options=_ISOLATION)
    try:
        database.start()
        database.wait_ready()
        sample.load(database.url)
        migrate(database.url)
        yield database
    finally:
        database.stop()


@pytest.fixture(scope="session")
def given_database_url() -> Iterator[str | None]:
    """The URL of a new database like that, on the server that the environment names; None for none."""
    with new_database() as url:
        if url is not None:
            sample.load(url)
            migrate(url)
        yield url


@pytest.fixture
def database_url(given_database_url: str | None, request: pytest.FixtureRequest) -> str:
    """The URL of such a database, its tables of jobs empty: the private one, where a test asks for it as well."""
    if given_database_url is None or "private_database" in request.fixturenames:
        url: str = request.getfixturevalue("private_database").url
    else:
        url = given_database_url
    with connect(url) as connection:
        for table in ("deliveries", "jobs", "schedules"):
            connection.cursor().execute(f"DELETE FROM {table}")
    return url


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
    broker = Broker(tmp_path_factory.mktemp("broker"), config=_CONFIG)
    try:
        broker.start()
        broker.wait_ready()
        yield broker
    finally:
        broker.stop()


@pytest.fixture(scope="session")
def new_vhosts(private_broker: Broker) -> Iterator[str]:
    """The URLs of empty brokers, as many as are taken."""
    return vhosts.endless(private_broker)


@pytest.fixture
def vhost(new_vhosts: Iterator[str]) -> str:
    """The URL of an empty broker: a virtual host for one test alone."""
    return next(new_vhosts)


Start = Callable[..., Process]


@contextmanager
def starting(logs: Path) -> Iterator[Start]:
    """Starts programs, `start(name, *command, **settings)`, and ends them with the block.

    Settings are NOWAIT_ variables in lower case. What a program prints is in the file `process.output`, in `logs`.
    They run by this Python, or by `python`.
    """
    started: list[Process] = []
    numbers = itertools.count()  # any thread may start one

    def start(name: str, *command: str, python: str = sys.executable, **settings: Any) -> Process:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("NOWAIT_")}
        environment |= {f"NOWAIT_{key.upper()}": str(value) for key, value in settings.items()}
        output = logs / f"{name}-{next(numbers)}.log"
        process = Process(name, [python, "-m", *command], env=environment, cwd=ROOT, output=output)
        started.append(process)
        return process

    try:
        yield start
    finally:
        # Not stop(): a worker may take seconds for that, and nobody looks at how it ends.
        for process in reversed(started):
            process.kill()


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts programs, as starting() has them, and ends them with the run."""
    with starting(tmp_path_factory.mktemp("logs")) as start:
        yield start


def printed(process: Process) -> str:
    """All that a program started by `start` has printed."""
    assert isinstance(process.output, Path)
    return process.output.read_text(errors="replace")


def celery_worker(start: Start, app: str, *arguments: str, celery: str = "celery", **settings: Any) -> Process:
    """A worker that is ready to work; settings as for `start`. `celery` is the module that is run."""
    process = start(
        "worker",
        *f"{celery} -A {app} worker -l INFO -n {uuid4().hex}@tests --without-gossip --without-mingle".split(),
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


def connect(database_url: str) -> "pymysql.Connection[Any]":
    """A connection to the database, as workers and servers have them."""
    return pymysql.connect(**DatabaseUrl.parse(database_url).options(), autocommit=True)


def in_state(connection: "pymysql.Connection[Any]", state: str) -> int:
    """How many queries of the connection's account are in a state of MariaDB's at this moment."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM information_schema.processlist WHERE state = %s", [state])
        (found,) = cursor.fetchone()
        return int(found)


@pytest.fixture(scope="session")
def sleeping(services: Services) -> Callable[[], int]:
    """How many sample queries sleep in the database at this moment."""

    def count() -> int:
        with connect(services.database_url) as connection:
            return in_state(connection, "User sleep")

    return count


Hold = Callable[[], AbstractContextManager[Callable[[], int]]]


@pytest.fixture(scope="session")
def hold(services: Services) -> Hold:
    """Holds up all sample queries, `with hold() as held`, for as long as the block lasts; `held()` is how many."""

    @contextmanager
    def hold() -> Iterator[Callable[[], int]]:
        with connect(services.database_url) as connection, connection.cursor() as cursor:
            cursor.execute("LOCK TABLES users WRITE")
            yield lambda: in_state(connection, "Waiting for table metadata lock")

    return hold
