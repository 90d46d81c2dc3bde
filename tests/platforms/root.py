"""A minimal Debian in a folder, and commands in it. Needs root, and a Debian whose mirror it may use, too.

A command has mounts and processes of its own: whatever it leaves ends with it. The network is the machine's.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.local.errors import LocalError
from tests.conftest import ROOT

_MAKE_TIMEOUT, _COMMAND_TIMEOUT = 1200.0, 1800.0  # seconds
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The root is a mount of its own: `ip netns` changes how that propagates.
_ENTER = """\
mount --rbind "$0" "$0" && mount --rbind /dev "$0/dev" && mount --rbind /sys "$0/sys" && exec chroot "$0" "$@"
"""
# A shell is the first process: it waits for the command, whatever else is orphaned meanwhile.
_FIRST = 'cd /project 2>/dev/null; "$@"; exit $?'
_CERTIFICATES = Path("usr/local/share/ca-certificates")
# A mirror may be late. Which versions it gave is in the table.
_APT = 'Acquire::Check-Valid-Until "false";\nAPT::Install-Recommends "false";\n'


class Root:
    """One Debian.

    Args:
        folder: where it is, or will be: kept for the next run.
        suite: as debootstrap names it.
    """

    def __init__(self, folder: Path, suite: str) -> None:
        self.folder = folder
        self.project = folder / "project"
        self._suite = suite

    def make(self) -> None:
        """Make it, unless it is there. Raises LocalError."""
        mirror, debootstrap = _mirror(), _debootstrap()
        if not self.folder.exists():
            # Under another name first: a half-made root must not be taken for a whole one.
            unfinished = self.folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.parent.mkdir(parents=True, exist_ok=True)
            _run([debootstrap, "--variant=minbase", self._suite, str(unfinished), mirror], _MAKE_TIMEOUT)
            unfinished.rename(self.folder)
        self._set_up(mirror)

    def install(self, *packages: str) -> None:
        """Have these packages, in the mirror's newest versions, and nothing that they only recommend."""
        for step in (["update"], ["-y", "full-upgrade"], ["-y", "install", *packages]):
            self.run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", *step)

    def run(self, *command: str) -> None:
        """Run a command in it to its end. Raises LocalError when it fails."""
        _run(self.command(command), _COMMAND_TIMEOUT)

    def copy_project(self) -> None:
        """Have this checkout as /project; of an earlier one only what git ignores stays."""
        self.project.mkdir(exist_ok=True)
        for path in self.project.iterdir():
            if path.name not in (".venv", ".local"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
            if name and (ROOT / name).is_file():
                (self.project / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.project / name)

    def command(self, command: Sequence[str]) -> list[str]:
        """What runs a command in it: as root, in /project where that is there, with few variables."""
        variables = {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", **_inherited()}
        return [
            *f"unshare --mount --pid --fork --kill-child --mount-proc={self.folder}/proc".split(),
            *("sh", "-c", _ENTER, str(self.folder)),
            *("env", "-i", *(f"{name}={value}" for name, value in variables.items())),
            *("sh", "-c", _FIRST, "sh", *command),
        ]

    def versions(self, *packages: str) -> dict[str, str]:
        """The upstream versions of packages that are installed."""
        command = ["dpkg-query", "--root", str(self.folder), "-W", "-f", "${Package} ${db:Status-Status} ${Version}\n"]
        found = {}
        for line in subprocess.run([*command, *packages], capture_output=True, text=True).stdout.splitlines():
            name, status, version = line.split(" ", 2)
            if status == "installed":
                found[name] = version.rpartition(":")[2].partition("-")[0].partition("+")[0]
        return found

    def _set_up(self, mirror: str) -> None:
        etc = self.folder / "etc"
        (etc / "apt/sources.list").write_text(f"deb {mirror} {self._suite} main\n")
        (etc / "apt/apt.conf.d/90platforms").write_text(_APT + _apt_settings())
        for name in ("resolv.conf", "hosts"):
            (etc / name).unlink(missing_ok=True)
            shutil.copyfile(Path("/etc") / name, etc / name)
        if (own := Path("/") / _CERTIFICATES).is_dir():
            shutil.copytree(own, self.folder / _CERTIFICATES, dirs_exist_ok=True)
        self.install("ca-certificates")
        self.run("update-ca-certificates")


def _debootstrap() -> str:
    """The path of debootstrap. Raises LocalError when roots cannot be made here."""
    if os.geteuid() != 0:
        raise LocalError("a root with another Debian needs root: sudo make platforms")
    missing = [name for name in ("debootstrap", "unshare", "git") if shutil.which(name) is None]
    if missing:
        raise LocalError(f"missing: {', '.join(missing)}. Install: apt-get install debootstrap util-linux git")
    return shutil.which("debootstrap") or ""


def _mirror() -> str:
    """The URL of this machine's mirror of Debian. Raises LocalError when it has none."""
    if shutil.which("apt-get") is not None:
        listed = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Created-By: Packages"]
        for line in subprocess.run(listed, capture_output=True, text=True).stdout.splitlines():
            origin, _, url = line.partition(" ")
            if origin == "Debian" and "security" not in url:
                return url.rstrip("/")
    raise LocalError("no mirror of Debian in the sources of apt: on a Debian machine, run apt-get update first")


def _apt_settings() -> str:
    """How this machine's apt reaches its mirror: proxies and certificates."""
    dump = ["apt-config", "dump", "--format", '%F "%v";%n', "Acquire::http", "Acquire::https"]
    return subprocess.run(dump, capture_output=True, text=True).stdout


def _inherited() -> dict[str, str]:
    """How this machine reaches its package index, as variables. Wheels and constraints of its own are left out."""
    found = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    for option in ("index-url", "trusted-host", "proxy"):
        asked = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "get", f"global.{option}"]
        done = subprocess.run(asked, capture_output=True, text=True)
        variable = f"PIP_{option.upper().replace('-', '_')}"
        if value := os.environ.get(variable) or done.stdout.strip():
            found[variable] = value
    # Debian's file of all authorities, the machine's own among them.
    return found | {"PIP_CERT": "/etc/ssl/certs/ca-certificates.crt"}


def _run(command: Sequence[str], timeout: float) -> None:
    """Run a command to its end. Raises LocalError with the end of what it printed when it fails."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LocalError(f"not done within {timeout:.0f} s: {' '.join(command)}") from None
    if done.returncode != 0:
        raise LocalError(f"status {done.returncode}: {' '.join(command)}\n{done.stdout[-2000:]}")
