"""A database that is killed, stopped, out of reach, forgets its clients, deadlocks, or takes its time."""

import asyncio
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from sqlalchemy import text

from deploy.local import sample
from deploy.local.broker import Broker
from deploy.local.database import Database
from deploy.local.process import free_port
from nowait import Encoded
from server.comparison import Comparison
from tasks.database import make_engine
from tasks.statements import fetch
from tests import programs
from tests.bridge.conftest import running, until
from tests.conftest import Start, celery_worker, ready
from tests.faults.clients import Clients
from tests.faults.databases import as_root, connections, kill_connections
from tests.faults.figures import Figures
from tests.faults.network import Network
from tests.system.conftest import Volley

pytestmark = [pytest.mark.gen_test(timeout=300), pytest.mark.timeout(300)]

THREADS = 50  # of the worker
REPEATABLE = ("/mysql_query/1", "/queries/count_users")
QUERIES = {
    "forwards": "SELECT id, SLEEP(0.002) AS slept FROM contended ORDER BY id FOR UPDATE",
    "backwards": "SELECT id, SLEEP(0.002) AS slept FROM contended ORDER BY id DESC FOR UPDATE",
}


class Site:
    """A database of its own, with a worker and a server in front of it.

    Attributes:
        database: the database.
        url: the server's.
        broker_url: the broker's.
    """

    def __init__(self, database: Database, url: str, broker_url: str) -> None:
        self.database = database
        self.url = url
        self.broker_url = broker_url

    def execute(self, *statements: str) -> list[tuple[object, ...]]:
        """Run statements as root; the rows of the last."""
        return as_root(self.database, *statements)

    def clients(self, condition: str = "TRUE") -> list[int]:
        """The connections of the worker and the server, by their ids."""
        return connections(self.database, condition)

    def kill_connections(self) -> int:
        """End them all; returns how many there were."""
        return kill_connections(self.database)


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, private_broker: Broker, start: Start
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("queries")
    vhost = uuid4().hex
    private_broker.control("add_vhost", vhost)
    private_broker.control("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
    database = Database(tmp_path_factory.mktemp("database"))
    try:
        database.start()
        database.wait_ready()
        sample.load(database.url)
        for file in (Path(__file__).parents[2] / "tasks/sql").iterdir():
            (folder / file.name).write_text(file.read_text())
        for name, statement in QUERIES.items():
            (folder / f"{name}.sql").write_text(statement)
            (folder / f"{name}.toml").write_text(f"[{name}]\ncoalesce = false")
        settings = {
            "broker_url": f"amqp://guest:guest@127.0.0.1:{private_broker.port}/{vhost}",
            "database_url": database.url,
            "queries": folder,
        }
        port = free_port()
        processes = [
            celery_worker(start, "tasks", "-P", "threads", "-c", str(THREADS), **settings),
            start("server", "server", port=port, demo=1, max_in_flight=2000, **settings),
        ]
        site = Site(database, ready(processes[1], port), str(settings["broker_url"]))
        site.execute("CREATE TABLE nowait.contended (id INT PRIMARY KEY)")
        site.execute("INSERT INTO nowait.contended VALUES (1), (2), (3), (4)")
        yield site
        for process in processes:
            process.stop()
    finally:
        database.stop()
        private_broker.control("delete_vhost", vhost)


def assert_served(clients: Clients) -> None:
    """Everything was answered, and less than 1 % of it with an error."""
    statuses = clients.statuses
    assert statuses[599] == 0, statuses
    assert statuses.total() - statuses[200] < 0.01 * statuses.total(), statuses


async def test_a_database_that_is_killed_and_comes_back_fails_no_request(
    site: Site, scale: float, figures: Figures
) -> None:
    clients = Clients(site.url, *REPEATABLE)
    async with clients.load():
        for _ in range(round(5 * scale) or 1):
            await asyncio.sleep(1)
            site.database.process.kill()
            await asyncio.sleep(0.5)
            site.database.start()
            await asyncio.get_running_loop().run_in_executor(None, site.database.wait_ready)
            await asyncio.sleep(1)
    figures.remark("database killed", answers=clients.statuses, slowest=clients.slowest)
    assert_served(clients)


async def test_a_database_that_is_stopped_holds_no_thread_beyond_the_deadline(
    site: Site, scale: float, figures: Figures
) -> None:
    clients = Clients(site.url, *REPEATABLE, wait=2)
    async with running(site.broker_url) as bridge:
        assert await clients.get("/queries/count_users") == 200
        site.database.process.signal(signal.SIGSTOP)
        try:
            async with clients.load():
                await asyncio.sleep(30 * scale or 3)
            # Everything is answered, and the database still silent: this takes one thread that is free.
            ended = time.monotonic()
            await bridge.send_task("task.list_queries", queue="queries", timeout=20)
            freed = time.monotonic() - ended
        finally:
            site.database.process.signal(signal.SIGCONT)
    stopped, clients.statuses = clients.statuses, Counter()
    resumed = time.monotonic()
    while await clients.get("/mysql_query/1") != 200:
        assert time.monotonic() - resumed < 30
    recovered = time.monotonic() - resumed
    volley = Volley()
    volley.send(f"{site.url}/mysql_query/1?delay=5", times=THREADS)
    await until(lambda: len(site.clients("state = 'User sleep'")) == THREADS)
    assert {answer.status for _, answer in await volley.all()} == {200}
    figures.remark(
        "database stopped, 2 s deadlines", answers=stopped, slowest=clients.slowest, thread_free_after=freed,
        service_after=recovered,
    )  # fmt: skip
    # Once it is known that they would wait in vain, calls are refused at once.
    assert stopped[504] and stopped.keys() <= {503, 504}
    # A short run goes on beside anything else that the machine has to do.
    assert clients.slowest < (2.5 if scale else 5)
    assert recovered < (2 if scale else 10)


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
async def test_a_network_that_swallows_everything_holds_no_thread_beyond_the_deadline(
    tmp_path: Path, figures: Figures
) -> None:
    database = Database(tmp_path, address="0.0.0.0")
    statement = text("SELECT SLEEP(0.01)")
    with Network("client", "database") as network, ExitStack() as stack:
        with network.inside("database"):
            stack.callback(database.stop)
            database.start()
            database.wait_ready()
        as_root(database, "RENAME USER nowait@'127.0.0.1' TO nowait@'%'")
        engine = make_engine(database.url.replace("127.0.0.1", network.address("database")))
        held: list[float] = []
        errors: Counter[str] = Counter()

        def work(seconds: float) -> None:
            """Queries until the network has been cut for so long, each with a second to its deadline."""
            with network.inside("client"):
                while time.monotonic() < cut + seconds:
                    started = time.monotonic()
                    try:
                        fetch(engine, statement, {}, deadline=started + 1, repeatable=True)
                    except Exception as error:
                        errors[type(error).__name__] += 1
                    held.append(time.monotonic() - started)

        cut = time.monotonic() + 1
        threads = [threading.Thread(target=work, args=(4,), daemon=True) for _ in range(20)]
        for thread in threads:
            thread.start()
        await asyncio.sleep(1)
        network.cut("client", "database")
        await until(lambda: not any(thread.is_alive() for thread in threads))
        network.mend("client", "database")
        mended = time.monotonic()
        with network.inside("client"):
            assert fetch(engine, statement, {}, deadline=time.monotonic() + 60)
            engine.dispose()
        figures.remark(
            "network of the database cut, 1 s deadlines", outcomes=dict(errors), held=max(held),
            service_after=time.monotonic() - mended,
        )  # fmt: skip
        assert set(errors) == {"OutOfTime"}
        assert max(held) < 5


async def test_connections_that_are_killed_are_replaced(site: Site, scale: float, figures: Figures) -> None:
    clients = Clients(site.url, *REPEATABLE)
    killed = 0
    async with clients.load():
        for _ in range(round(50 * scale) or 5):
            await asyncio.sleep(0.3)
            killed += site.kill_connections()
    figures.remark("connections killed", killed=killed, answers=clients.statuses, slowest=clients.slowest)
    assert killed > 0
    assert_served(clients)


async def test_connections_that_the_database_has_given_up_are_replaced(site: Site, figures: Figures) -> None:
    clients = Clients(site.url, *REPEATABLE, "/aiomysql/mysql_query/1", "/threads/mysql_query/1")
    site.execute("SET GLOBAL wait_timeout = 1")
    try:
        site.kill_connections()
        async with clients.load():
            await asyncio.sleep(1)
        used = set(site.clients())
        # Longer than they may be idle. Those that look for due jobs each second are not, and stay.
        await asyncio.sleep(2)
        while site.clients("command = 'Sleep' AND time >= 1"):
            await asyncio.sleep(0.1)
        assert used - set(site.clients())
        async with clients.load():
            await asyncio.sleep(1)
    finally:
        site.execute("SET GLOBAL wait_timeout = 28800")
        site.kill_connections()
    figures.remark("wait_timeout passed", answers=clients.statuses, slowest=clients.slowest)
    assert set(clients.statuses) == {200}


async def test_a_storm_of_deadlocks_ends_in_answers(site: Site, scale: float, figures: Figures) -> None:
    def deadlocks() -> int:
        ((_, count),) = site.execute("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
        return int(str(count))

    before = deadlocks()
    volley = Volley()
    count = round(500 * scale) or 100
    for name in QUERIES:
        volley.send(f"{site.url}/queries/{name}", times=count // 2)
    statuses = [answer.status for _, answer in await volley.all()]
    figures.remark("deadlock storm", answers=len(statuses), ok=statuses.count(200), deadlocks=deadlocks() - before)
    assert deadlocks() > before
    assert len(statuses) == count
    assert statuses.count(200) > 0.99 * count


async def test_a_query_ends_with_its_deadline(site: Site, figures: Figures) -> None:
    programs.require("curl")
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        "curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{time_total}", "-H", "Prefer: wait=2",
        f"{site.url}/mysql_query/1?delay=60", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, _ = await process.communicate()
    status, seconds = printed.decode().split()
    while site.clients("state = 'User sleep'"):
        assert time.monotonic() - started < 30
        await asyncio.sleep(0.02)
    gone = time.monotonic() - started
    figures.remark("60 s query, 2 s deadline", status=status, answered=float(seconds), gone=gone)
    assert status == "504"
    assert float(seconds) < 2.5
    assert gone < 3.0


async def test_callers_that_leave_take_no_connection_with_them(site: Site, scale: float, figures: Figures) -> None:
    randomness = random.Random(4)
    for path in ("/mysql_query/1?delay=0.05", "/aiomysql/mysql_query/1?delay=0.05"):
        url = urlsplit(site.url)

        async def leave() -> None:
            _, writer = await asyncio.open_connection(url.hostname, url.port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
            await writer.drain()
            await asyncio.sleep(randomness.uniform(0, 0.5))
            writer.transport.abort()

        await asyncio.gather(*(leave() for _ in range(500)))
        volley = Volley()
        volley.send(f"{site.url}{path}", times=150)
        assert {answer.status for _, answer in await volley.all()} == {200}
    # 50 threads of the worker; the async driver's 100, the server's 32 threads and its loop.
    assert len(site.clients()) <= THREADS + 100 + 33


async def test_a_pool_of_five_is_whole_after_500_callers_were_cancelled(site: Site, figures: Figures) -> None:
    randomness = random.Random(5)
    comparison = Comparison(site.database.url, connections=5)
    try:
        callers = [asyncio.ensure_future(asyncio.wait_for(comparison.aiomysql(1, 0.01), 30)) for _ in range(500)]
        for caller in randomness.sample(callers, 400):
            asyncio.get_running_loop().call_later(randomness.uniform(0, 1), caller.cancel)
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        cancelled = sum(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        answered = sum(isinstance(outcome, Encoded) for outcome in outcomes)
        figures.remark("500 callers of an aiomysql pool of 5", cancelled=cancelled, answered=answered)
        assert cancelled + answered == 500
        assert answered >= 100
        assert cancelled > 0
        # All five are there: five that sleep at the same moment.
        sleeping = asyncio.gather(*(comparison.aiomysql(1, 2) for _ in range(5)))
        deadline = time.monotonic() + 30
        while len(site.clients("state = 'User sleep'")) < 5:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert [len(rows.decode()) for rows in await sleeping] == [10] * 5
    finally:
        await comparison.close()
