"""A private RabbitMQ: own node name, cookie, ports, data and Erlang port mapper.

Settings of the node: https://www.rabbitmq.com/docs/configure#supported-environment-variables.
"""

import hashlib
import os
import subprocess
from pathlib import Path

from deploy.local import programs
from deploy.local.errors import LocalError
from deploy.local.process import Process, free_port, listens

_START_TIMEOUT = 90.0
_CONF = """\
listeners.tcp.default = {address}:{port}
log.console = true
log.console.level = info
log.file = false
# Private and small: a laptop that is short of disk should still run the example.
disk_free_limit.absolute = 50MB
# No reply, no statistics: nothing collects them.
collect_statistics_interval = 60000
"""


class Broker:
    """One RabbitMQ node under `directory`; its data outlives stop().

    The port is chosen once, so that a restart finds its clients where it left them.

    Args:
        directory: where the node lives.
        address: the IPv4 address to listen on.
        config: further lines for its rabbitmq.conf; also an attribute, read at each start.
        advanced: its advanced.config, an Erlang term, for what rabbitmq.conf does not know.
        beside: a node on this machine whose port mapper and cookie are shared, so that the two
            may be one cluster; None for a node alone.
    """

    programs = ("rabbitmq-server", "rabbitmqctl", "epmd")

    def __init__(
        self,
        directory: Path,
        *,
        address: str = "127.0.0.1",
        config: str = "",
        advanced: str = "[].",
        beside: "Broker | None" = None,
    ) -> None:
        self.directory = directory.resolve()
        self.port = free_port()
        self._address = address
        self.config = config
        self._advanced = advanced
        self._beside = beside
        self._epmd_port: int = beside._epmd_port if beside else free_port()
        self._distribution_port = free_port()
        # The node's name is part of its data's location: the same folder, the same name.
        digest = hashlib.sha256(str(self.directory).encode()).hexdigest()[:12]
        self.node = f"nowait-{digest}@localhost"
        self._epmd: Process | None = None
        self._server: Process | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    @property
    def process(self) -> Process:
        """The node's process. Raises LocalError when it was not started."""
        if self._server is None:
            raise LocalError("the private broker was not started")
        return self._server

    def start(self) -> None:
        """Start the node; wait_ready() waits for it.

        Raises LocalError when RabbitMQ is neither installed nor can be.
        """
        programs.require(self.programs)
        self.directory.mkdir(parents=True, exist_ok=True)
        conf = _CONF.format(address=self._address, port=self.port) + self.config
        (self.directory / "rabbitmq.conf").write_text(conf)
        (self.directory / "advanced.config").write_text(self._advanced + "\n")
        (self.directory / "enabled_plugins").write_text("[].\n")
        if self._beside is None and (self._epmd is None or self._epmd.returncode is not None):
            # In the foreground: left to itself, Erlang starts a daemon that stays behind.
            self._epmd = Process(
                "epmd",
                [programs.path("epmd"), "-port", str(self._epmd_port), "-address", "127.0.0.1"],
                env=self.environment(),
                output=self.directory / "epmd.log",
            )
            self._epmd.wait_until(lambda: listens(self._epmd_port), 10.0)
        self._server = Process(
            "broker",
            [programs.path("rabbitmq-server")],
            env=self.environment(),
            cwd=self.directory,
            output=self.directory / "broker.log",
        )

    def wait_ready(self) -> None:
        """Return once the node serves AMQP. Raises LocalError when it ends or takes too long."""
        self.process.wait_until(lambda: listens(self.port), _START_TIMEOUT)

    def terminate(self) -> None:
        """Ask the node to stop, without waiting."""
        if self._server is not None:
            self._server.terminate()

    def stop(self, timeout: float = 10.0) -> None:
        """Stop the node and its port mapper; SIGKILL after `timeout` seconds."""
        if self._server is not None:
            self._server.stop(timeout)
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd = None

    def control(self, *arguments: str, timeout: float = 60.0) -> str:
        """What `rabbitmqctl arguments` prints. Raises LocalError when it fails."""
        done = subprocess.run(
            [programs.path("rabbitmqctl"), "--quiet", *arguments],
            env=self.environment(),
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if done.returncode != 0:
            raise LocalError(f"rabbitmqctl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def environment(self) -> dict[str, str]:
        """The whole environment of the node's programs, `rabbitmqctl` among them."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("RABBITMQ_", "ERL_"))}
        return inherited | {
            # The Erlang cookie lives there.
            "HOME": str(self._beside.directory if self._beside else self.directory),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_ALLOW_INPUT": "1",  # no shell in between: signals reach the node itself
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": self._address,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.directory / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(self.directory / "no-such-file"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "data"),
            "RABBITMQ_LOG_BASE": str(self.directory / "log"),
            "RABBITMQ_PID_FILE": str(self.directory / "broker.pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput -kernel inet_dist_use_interface {127,0,0,1}",
        }
