"""Broker, worker and bridges for the fault tests: private ones, made to be maltreated."""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from celery import Celery

from deploy.local.broker import Broker
from deploy.local.database import Database
from deploy.local.process import free_port
from nowait.bridge import Bridge
from nowait.errors import BridgeError
from tests import programs, vhosts
from tests.bridge.conftest import until
from tests.conftest import Start, celery_worker
from tests.faults.deployment import HOSTS, Deployment
from tests.faults.figures import Figures
from tests.faults.load import QUEUE, Load
from tests.faults.network import Network

_FIGURES = pytest.StashKey[Figures]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = Figures()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    lines = config.stash.get(_FIGURES, Figures()).lines()
    if lines:
        terminalreporter.section("faults")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def figures(pytestconfig: pytest.Config) -> Figures:
    """The table at the end of the run."""
    return pytestconfig.stash.setdefault(_FIGURES, Figures())


class Site:
    """A broker that listens with and without TLS, and one stock worker.

    Attributes:
        broker: the broker.
        tls_port: where it listens with TLS.
        ca: the CA of its certificate, which is for 127.0.0.1 alone.
        runs: the file in which the worker notes what it runs.
    """

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1")
        pem, self.ca = folder / "server.pem", folder / "ca.pem"
        certificate.private_key_and_cert_chain_pem.write_to_path(str(pem))
        authority.cert_pem.write_to_path(str(self.ca))
        self.tls_port = free_port()
        self.broker = Broker(
            folder / "broker",
            config=(
                f"listeners.ssl.default = 127.0.0.1:{self.tls_port}\n"
                f"ssl_options.certfile = {pem}\n"
                f"ssl_options.keyfile = {pem}\n"
                f"ssl_options.cacertfile = {self.ca}\n"
            ),
        )
        self.runs = folder / "runs"
        self.runs.touch()

    def app(self, scheme: str, host: str = "127.0.0.1", ca: Path | None = None) -> Celery:
        """An application that uses the broker by "amqp" or "amqps", trusting its CA or another."""
        port = self.tls_port if scheme == "amqps" else self.broker.port
        app = Celery("server", broker=f"{scheme}://guest:guest@{host}:{port}//", set_as_current=False)
        if scheme == "amqps":
            app.conf.broker_use_ssl = {"ca_certs": str(ca or self.ca), "cert_reqs": ssl.CERT_REQUIRED}
        return app


@pytest.fixture(scope="session")
def bare_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site without its worker."""
    site = Site(tmp_path_factory.mktemp("site"))
    try:
        site.broker.start()
        site.broker.wait_ready()
        yield site
    finally:
        site.broker.stop()


@pytest.fixture(scope="session")
def site(bare_site: Site, start: Start) -> Site:
    """One site for all tests; each leaves it whole."""
    # Processes, not threads: those of Celery 5.7 acknowledge on a connection that the main thread
    # uses too, and may hang for ever when it is lost.
    settings = {"broker_url": bare_site.broker.url, "test_runs": bare_site.runs}
    celery_worker(start, "tests.celeryapp", "-P", "prefork", "-c", "4", **settings)
    return bare_site


@pytest.fixture(scope="session")
def private_broker(bare_site: Site) -> Broker:
    """The site's, in place of one that all tests share: an alarm would hold up those that run beside it."""
    return bare_site.broker


@pytest.fixture(scope="session")
def new_vhosts(private_broker: Broker) -> Iterator[str]:
    return vhosts.endless(private_broker)


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Deployment]:
    """The hosts of docs/deploying.md, whole after each test."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    programs.require("haproxy", "ip", "mariadb", *Broker.programs, *Database.programs)
    with ExitStack() as stack:
        network = stack.enter_context(Network(*HOSTS))
        shared = not pytestconfig.getoption("--scale")
        deployment = Deployment(network, tmp_path_factory.mktemp("hosts"), shared)
        deployment.start(stack)
        yield deployment


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "app" in metafunc.fixturenames:
        short = not metafunc.config.getoption("--scale")
        plain = short and metafunc.definition.get_closest_marker("tls_in_full") is not None
        metafunc.parametrize("app", ["amqp"] if plain else ["amqp", "amqps"], indirect=True)


@pytest.fixture
def app(request: pytest.FixtureRequest, site: Site) -> Celery:
    """An application of a server, without and with TLS."""
    return site.app(request.param)


@asynccontextmanager
async def serving(app: Celery, **options: Any) -> AsyncIterator[Bridge]:
    """A bridge whose calls are answered, and stopped afterwards."""
    bridge = Bridge(app, **options)
    await bridge.start()
    try:
        await service(bridge)
        yield bridge
    finally:
        await bridge.stop(drain=0)


async def service(bridge: Bridge, timeout: float = 60.0) -> float:
    """Return once a call is answered; how long that took, in seconds."""
    started = time.monotonic()
    while time.monotonic() < started + timeout:
        try:
            await bridge.send_task("test.echo", ["there?"], queue=QUEUE, timeout=1.0, idempotent=True)
            return time.monotonic() - started
        except BridgeError:
            await asyncio.sleep(0.02)
    raise AssertionError(f"no service within {timeout:g} s: {bridge!r}")


async def control(broker: Broker, *arguments: str) -> str:
    """`rabbitmqctl`, while the loop turns."""
    return await asyncio.get_running_loop().run_in_executor(None, lambda: broker.control(*arguments))


async def lasts(bridge: Bridge, *states: str) -> float:
    """Return once the bridge is in one of these states; how long that took, in seconds."""
    started = time.monotonic()
    await until(lambda: bridge.state in states)
    return time.monotonic() - started


def transport(app: Celery) -> str:
    """ "amqp" or "amqps"."""
    return str(app.conf.broker_url).partition(":")[0]


def assert_whole(load: Load) -> None:
    """Each request of a load was answered in time, with its own payload or an honest error."""
    tally = load.tally
    assert tally.lost == 0, tally
    assert tally.unexpected == 0, load.surprises
    assert tally.answered == tally.attempted > 0, tally


def assert_calm(load: Load, scale: float) -> None:
    """Nothing kept the loop from turning."""
    # A short run goes on beside anything else that the machine has to do.
    assert load.lag < (0.05 if scale else 1.0)
