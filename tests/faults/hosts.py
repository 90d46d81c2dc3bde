"""Hosts with a network, an /etc and an /opt of their own, set up by the commands of a page. Needs root."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from deploy.local.process import Process
from tests.conftest import ROOT
from tests.faults.network import Network
from tests.faults.units import Unit

_MOUNT = 'mount --bind "$0/etc" /etc && mount --bind "$0/opt" /opt && exec "$@"'


class Host:
    """One host.

    Args:
        name: its name in the network; NAME.example for all others.
        network: its network.
        folder: holds what is its own.
        opt: the folder that is its /opt; None for one of its own.
    """

    def __init__(self, name: str, network: Network, folder: Path, opt: Path | None = None) -> None:
        self.name = name
        self._network = network
        self.folder = folder / name
        self.etc = self.folder / "etc"
        self.programs = self.folder / "programs"  # stand in front of the machine's
        self.units: list[Unit] = []
        shutil.copytree("/etc", self.etc, symlinks=True)
        if opt is None:
            (self.folder / "opt").mkdir()
        else:
            (self.folder / "opt").symlink_to(opt)
        self.programs.mkdir()

    def know(self, addresses: dict[str, str]) -> None:
        """Give it names for addresses."""
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in addresses.items())]
        (self.etc / "hosts").unlink(missing_ok=True)
        (self.etc / "hosts").write_text("\n".join(lines) + "\n")

    def command(self, *command: str, online: bool = False) -> list[str]:
        """What runs a command here; `online` in the machine's own network instead of this host's."""
        network = [] if online else ["nsenter", f"--net=/run/netns/{self._network.name(self.name)}"]
        return [*network, "unshare", "--mount", "sh", "-c", _MOUNT, str(self.folder), *command]

    def shell(self, script: str) -> None:
        """Run a script in the project's folder. It is only online to install packages, and does nothing else then."""
        done = subprocess.run(
            self.command("sh", "-eu", "-c", script, online="install.sh" in script),
            cwd=ROOT,
            env={**os.environ, "PATH": f"{self.programs}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"

    def enable(self, unit: str) -> None:
        """`systemctl enable --now UNIT`"""
        template, _, instance = unit.partition("@")
        file = self.etc / "systemd/system" / f"{template}@.service"
        started = Unit(file, instance, self.etc, self.folder, self.run)
        started.start()
        self.units.append(started)

    def run(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> Process:
        """Start a program."""
        output = self.folder / f"{name}.log"
        number = len(list(self.folder.glob(f"{name}.log*")))
        if number:
            output.rename(output.with_suffix(f".log.{number}"))
        return Process(name, self.command(*command), env=environment, cwd=Path("/"), output=output)

    def stop(self) -> None:
        """Stop its units."""
        for unit in self.units:
            unit.process.terminate()
        for unit in self.units:
            unit.process.stop()
            unit.close()


def read_script(page: str, host: str) -> list[str]:
    """The script of a page for a host: parts of a script, and the lines of systemctl and install.sh by themselves."""
    (script,) = re.findall(rf"^```sh\n# on {re.escape(host)}.*?\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    parts = re.split(r"^((?:systemctl|sh deploy/install\.sh) .*\n)", script, flags=re.MULTILINE)
    return [part.strip() for part in parts if part.strip()]
