"""The hosts of docs/deploying.md, set up by its commands."""

import asyncio
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import trustme

from deploy.local import sample
from deploy.local.broker import Broker
from deploy.local.database import Database
from deploy.local.process import listens
from tests import programs
from tests.conftest import ROOT
from tests.faults.hosts import Host, read_script
from tests.faults.network import Network

PAGE = (ROOT / "docs/deploying.md").read_text()
HOSTS = ("broker", "database", "server", "worker", "worker2", "balancer")

_ADMIN = """\
CREATE USER admin@'127.0.0.1' IDENTIFIED BY 'change-me-4';
GRANT ALL ON nowait.* TO admin@'127.0.0.1';
"""


class Deployment:
    """Servers, workers, broker, database and balancer on hosts of their own, set up as the page describes.

    Attributes:
        network: their network.
        hosts: by name.
        server: the server host, with two units.
        workers: the two worker hosts, with a unit each.
        broker: the broker, which also listens without TLS on its own host.
        ca: the CA that all trust.
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
        self.ca = self.server.etc / "nowait/ca.pem"
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
            for part in read_script(PAGE, "worker.example" if host in self.workers else "server.example"):
                if part.startswith("systemctl enable --now "):
                    for unit in part.split()[3:]:
                        host.enable(unit)
                elif not (self._shared and host.name == "worker2" and "install.sh" in part):
                    host.shell(part)
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
        self.broker = broker = Broker(host.folder / "broker")
        stack.callback(broker.stop)
        for part in read_script(PAGE, "broker.example"):
            if part != "systemctl restart rabbitmq-server":
                host.shell(part)
                continue
            # The private node takes its other settings from the file that the page has copied.
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
        # The page takes the administrator's account as given.
        host.shell(f"mariadb <<END\n{_ADMIN}END")
        for part in read_script(PAGE, "database.example"):
            host.shell(part)

    def _start_balancer(self, stack: ExitStack) -> None:
        host = self.hosts["balancer"]
        (host.etc / "haproxy").mkdir(exist_ok=True)
        script, restart = read_script(PAGE, "balancer.example")
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
