"""Servers, workers, broker and database on hosts of their own, set up as the README says."""

import asyncio
import os
import stat
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trustme
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from deploy.local import programs, sample
from deploy.local.broker import Broker
from deploy.local.database import Database
from deploy.local.process import listens
from tests.bridge.conftest import until
from tests.conftest import ROOT
from tests.faults.figures import Figures
from tests.faults.hosts import Host, read_script
from tests.faults.network import Network

pytestmark = [
    pytest.mark.gen_test(timeout=900),
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

README = (ROOT / "README.md").read_text()
HOSTS = ("broker", "database", "server", "worker", "worker2", "balancer")
RATE = 40  # requests a second


class Site:
    """All hosts, set up and running.

    Attributes:
        network: their network.
        hosts: by name.
        server: the server host, with two units.
        workers: the two worker hosts, with a unit each.
    """

    def __init__(self, network: Network, folder: Path, shared: bool) -> None:
        self.network = network
        self.hosts: dict[str, Host] = {}
        for name in HOSTS:
            # A second environment that is made as the first costs half a minute, where there is none.
            opt = self.hosts["worker"].folder / "opt" if shared and name == "worker2" else None
            self.hosts[name] = Host(name, network, folder, opt)
        names = {f"{name}.example": network.address(name) for name in HOSTS}
        for host in self.hosts.values():
            host.know(names)
        self.server = self.hosts["server"]
        self.workers = [self.hosts["worker"], self.hosts["worker2"]]
        self._shared = shared
        # What is started in a thread dies with it (see Process): this one lives as long as the site.
        self._aside = ThreadPoolExecutor(1)
        self._authority = trustme.CA()
        for host in (self.server, *self.workers):
            (host.etc / "nowait").mkdir()
            self._authority.cert_pem.write_to_path(str(host.etc / "nowait/ca.pem"))

    def start(self, stack: ExitStack) -> None:
        """Set all up; what is started stops with `stack`."""
        stack.callback(self._aside.shutdown)
        self._start_database(stack)
        self._start_broker(stack)
        for host in (self.server, *self.workers):
            stack.callback(host.stop)
            for part in read_script(README, "worker.example" if host in self.workers else "server.example"):
                if part.startswith("systemctl enable --now "):
                    for unit in part.split()[3:]:
                        host.enable(unit)
                elif not (self._shared and host.name == "worker2"):
                    host.shell(part)
                else:
                    host.shell("\n".join(line for line in part.splitlines() if "install.sh" not in line))
        for host in (self.server, *self.workers):
            for unit in host.units:
                unit.ready()
        self._start_balancer(stack)

    async def apart(self, step: Callable[[], object]) -> None:
        """Call something that blocks, while the loop turns."""
        await asyncio.get_running_loop().run_in_executor(self._aside, step)

    def _certificate(self, name: str, folder: Path) -> tuple[Path, Path]:
        folder.mkdir(exist_ok=True)
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        issued = self._authority.issue_cert(f"{name}.example")
        issued.cert_chain_pems[0].write_to_path(str(certificate))
        issued.private_key_pem.write_to_path(str(key))
        return certificate, key

    def _start_broker(self, stack: ExitStack) -> None:
        host = self.hosts["broker"]
        rabbitmq = host.etc / "rabbitmq"
        self._certificate("broker", rabbitmq)
        broker = Broker(host.folder / "broker")
        stack.callback(broker.stop)
        for part in read_script(README, "broker.example"):
            if part != "systemctl restart rabbitmq-server":
                host.shell(part)
                continue
            # The private node takes its other settings from the file that the README has copied.
            conf = (rabbitmq / "rabbitmq.conf").read_text().replace("/etc/rabbitmq", str(rabbitmq))
            broker.config = conf.replace("listeners.tcp = none\n", "")
            with self.network.inside(host.name):
                broker.start()
                broker.wait_ready()
            stand_in(host.programs / "rabbitmqctl", programs.path("rabbitmqctl"), environment=broker.environment())

    def _start_database(self, stack: ExitStack) -> None:
        host = self.hosts["database"]
        certificate, key = self._certificate("database", host.folder / "tls")
        database = Database(
            host.folder / "database", address="0.0.0.0", options=[f"--ssl-cert={certificate}", f"--ssl-key={key}"]
        )
        database.port = 3306
        stack.callback(database.stop)
        with self.network.inside(host.name):
            database.start()
            database.wait_ready()
            sample.load(database.url)
        stand_in(host.programs / "mariadb", programs.path("mariadb"), *database.root)
        for part in read_script(README, "database.example"):
            host.shell(part)

    def _start_balancer(self, stack: ExitStack) -> None:
        host = self.hosts["balancer"]
        (host.etc / "haproxy").mkdir(exist_ok=True)
        script, restart = read_script(README, "balancer.example")
        host.shell(script)
        assert restart == "systemctl restart haproxy"
        process = host.run("haproxy", [programs.path("haproxy"), "-db", "-f", "/etc/haproxy/haproxy.cfg"])
        stack.callback(process.stop)
        with self.network.inside(host.name):
            process.wait_until(lambda: listens(80), 30.0)


def stand_in(file: Path, program: str, *options: str, environment: dict[str, str] | None = None) -> None:
    """A program that runs another one with further options."""
    variables = [f"{name}='{value}'" for name, value in (environment or {}).items() if name.startswith(("RABB", "ERL"))]
    home = [f"HOME='{environment['HOME']}'"] if environment else []
    file.write_text(f"#!/bin/sh\nexec env {' '.join([*variables, *home])} {program} {' '.join(options)} \"$@\"\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Site]:
    programs.require(["haproxy", "mariadb", *Broker.programs, *Database.programs])
    with ExitStack() as stack:
        network = stack.enter_context(Network(*HOSTS))
        site = Site(network, tmp_path_factory.mktemp("hosts"), shared=not pytestconfig.getoption("--scale"))
        site.start(stack)
        yield site


class Clients:
    """Requests through the balancer at a constant rate.

    Attributes:
        statuses: how often each status was answered; 599 is no answer at all.
        slowest: the longest that an answer took, in seconds.
    """

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.slowest = 0.0
        self._client: AsyncHTTPClient = SimpleAsyncHTTPClient(force_instance=True, max_clients=2000)

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Send requests inside the block, and wait for all answers behind it."""
        sending = asyncio.ensure_future(self._send())
        try:
            yield
        finally:
            sending.cancel()
            requests = await asyncio.gather(sending, return_exceptions=True)
            assert isinstance(requests[0], asyncio.CancelledError), requests
            await until(lambda: not self._open, timeout=60)
            self._client.close()

    async def get(self, path: str) -> int:
        """The status of one request."""
        started = time.monotonic()
        request = HTTPRequest(f"http://127.0.0.1{path}", request_timeout=45)
        answer = await self._client.fetch(request, raise_error=False)
        self.slowest = max(self.slowest, time.monotonic() - started)
        return answer.code

    async def _send(self) -> None:
        self._open: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        due = loop.time()
        number = 0
        while True:
            number += 1
            task = asyncio.ensure_future(self._one(("/mysql_query/1", "/queries/count_users")[number % 2]))
            self._open.add(task)
            task.add_done_callback(self._open.discard)
            due += 1 / RATE
            await asyncio.sleep(max(0, due - loop.time()))

    async def _one(self, path: str) -> None:
        self.statuses[await self.get(path)] += 1


def connections(site: Site, host: Host) -> int:
    """How many connections to the database a host has."""
    database = site.hosts["database"]
    address = site.network.address(host.name)
    question = f"SELECT COUNT(*) FROM information_schema.processlist WHERE host LIKE '{address}:%'"
    command = database.command(str(database.programs / "mariadb"), "--skip-column-names", "-e", question)
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


async def test_each_host_has_its_own_part_alone(site: Site) -> None:
    for host, mine, others in (
        (site.server, {"server", "tornado"}, {"tasks", "sqlalchemy", "pymysql"}),
        *((worker, {"tasks", "sqlalchemy"}, {"server", "tornado", "aiomysql"}) for worker in site.workers),
    ):
        (packages,) = (host.folder / "opt/nowait").glob("lib/python*/site-packages")
        there = {path.name.lower() for path in packages.iterdir()}
        assert mine <= there
        assert not others & there


async def test_both_workers_serve_and_one_takes_over_when_the_other_is_cut_off(
    site: Site, scale: float, figures: Figures
) -> None:
    with site.network.inside("balancer"):
        clients = Clients()
        assert await clients.get("/queries") == 200
        async with clients.load():
            await until(lambda: clients.statuses[200] > 3 * RATE)
            assert all([connections(site, worker) for worker in site.workers])
            site.network.cut("worker2")
            await asyncio.sleep(60 * scale or 5)
            site.network.mend("worker2")
            await asyncio.sleep(2)
    figures.remark("a worker host cut off", answers=clients.statuses, slowest=clients.slowest)
    # Those that it had are answered, too: the broker takes them back when it hears nothing any more.
    assert set(clients.statuses) == {200}, (clients.statuses, clients.slowest)


async def test_a_rolling_restart_of_everything_fails_no_request(
    site: Site, scale: float, figures: Figures
) -> None:
    with site.network.inside("balancer"):
        clients = Clients()
        assert await clients.get("/queries") == 200
        async with clients.load():
            await asyncio.sleep(1)
            for _ in range(round(10 * scale) or 1):
                for host in (*site.workers, site.server):
                    for unit in host.units:
                        await site.apart(unit.restart)
                        # The balancer asks twice a second who is ready.
                        await asyncio.sleep(1.5)
    figures.remark(
        "rolling restart", times=round(10 * scale) or 1, answers=clients.statuses, slowest=clients.slowest
    )
    assert set(clients.statuses) == {200}, clients.statuses
    for host in (*site.workers, site.server):
        for unit in host.units:
            await until(lambda: "WATCHDOG=1" in unit.listen())


async def test_a_worker_that_is_killed_hands_on_its_tasks_at_once(site: Site, figures: Figures) -> None:
    unit = site.workers[1].units[0]
    with site.network.inside("balancer"):
        clients = Clients()
        assert await clients.get("/queries") == 200
        async with clients.load():
            await until(lambda: clients.statuses[200] > RATE)
            unit.process.kill()
            await asyncio.sleep(3)
            await site.apart(unit.start)
            await site.apart(unit.ready)
    figures.remark("a whole worker killed", answers=clients.statuses, slowest=clients.slowest)
    assert set(clients.statuses) == {200}, clients.statuses
    assert clients.slowest < 5
