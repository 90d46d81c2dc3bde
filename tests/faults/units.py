"""Runs systemd units where there is no systemd: as much of systemd.service(5) as ours use."""

import os
import re
import shlex
import socket
from collections.abc import Callable
from pathlib import Path

from deploy.local.process import Process

Run = Callable[[str, list[str], dict[str, str]], Process]


class Unit:
    """One instance of a template unit.

    Args:
        file: the template, `NAME@.service`.
        instance: what stands behind the @.
        etc: the folder that stands for /etc.
        folder: a folder for its socket.
        run: starts a command under a name and with an environment.
    """

    def __init__(self, file: Path, instance: str, etc: Path, folder: Path, run: Run) -> None:
        self.name = file.name.replace("@.service", f"@{instance}")
        self._settings: dict[str, list[str]] = {}
        for line in file.read_text().splitlines():
            key, _, value = line.partition("=")
            if not line.startswith("#"):
                self._settings.setdefault(key, []).append(value.replace("%i", instance).replace("%H", etc.parent.name))
        self._etc = etc
        self._run = run
        self._path = folder / f"{self.name}.socket"
        self._process: Process | None = None
        self._socket: socket.socket | None = None
        self.said: list[str] = []

    @property
    def process(self) -> Process:
        """The main process."""
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start it; ready() waits for it."""
        environment = {"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(self._path)}
        environment["WATCHDOG_USEC"] = str(int(self._settings["WatchdogSec"][0]) * 1_000_000)
        for line in self._settings["Environment"]:
            environment |= dict(part.split("=", 1) for part in shlex.split(line))
        for name in self._settings["EnvironmentFile"]:
            file = self._etc / Path(name.lstrip("-")).relative_to("/etc")
            if file.exists() or not name.startswith("-"):
                environment |= dict(line.split("=", 1) for line in file.read_text().splitlines() if line)
        self.close()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._path))
        self._socket.setblocking(False)
        (line,) = self._settings["ExecStart"]
        command: list[str] = []
        for word in shlex.split(line):
            variable = re.fullmatch(r"\$([A-Z_]+)", word)
            command += environment.get(variable[1], "").split() if variable else [word]
        self.said = []
        self._process = self._run(self.name, command, environment)

    def ready(self, timeout: float = 60.0) -> None:
        """Return once it has said that it is ready."""
        self.process.wait_until(lambda: "READY=1" in self.listen(), timeout)

    def listen(self) -> list[str]:
        """All that it has said so far."""
        assert self._socket is not None
        try:
            while True:
                self.said.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return self.said

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after TimeoutStopSec. Fails unless it ended by itself."""
        status = self.process.stop(float(self._settings["TimeoutStopSec"][0]))
        assert status == 0, (self.name, status)

    def restart(self) -> None:
        """As `systemctl restart`."""
        self.stop()
        self.start()
        self.ready()

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._path.unlink(missing_ok=True)
