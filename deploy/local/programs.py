"""Finds the programs that the private services need, and installs what is missing.

Debian and Ubuntu start a service as soon as its package is installed. Nothing of the machine is
to be touched here, so the start is forbidden for the length of the installation (policy-rc.d, see
https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt) and the units are left
disabled.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from deploy.local.errors import LocalError

# Debian's /usr/sbin/rabbitmq-server changes to the user "rabbitmq"; the script behind it does not.
_DIRECTORIES = ("/usr/lib/rabbitmq/bin", "/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin")
_POLICY = Path("/usr/sbin/policy-rc.d")
_INIT = Path("/etc/init.d")
# What the packages would have the machine run.
UNITS = ("rabbitmq-server.service", "mariadb.service", "epmd.service", "epmd.socket")

# For each program, the packages that hold it, the leanest first.
PACKAGES = {
    "rabbitmq-server": ("rabbitmq-server",),
    "rabbitmqctl": ("rabbitmq-server",),
    "epmd": ("erlang-base",),
    "mariadbd": ("mariadb-server-core", "mariadb-server"),
    "mariadb-install-db": ("mariadb-server-core", "mariadb-server"),
    "my_print_defaults": ("mariadb-client-core", "mariadb-client"),  # mariadb-install-db calls it
}

_CONTAINERS = """\
or use containers and name them in the environment:
  docker run -d -p 5672:5672 rabbitmq
  docker run -d -p 3306:3306 -e MARIADB_USER=nowait -e MARIADB_PASSWORD=nowait \\
      -e MARIADB_DATABASE=nowait -e MARIADB_RANDOM_ROOT_PASSWORD=1 mariadb
  export NOWAIT_BROKER_URL=amqp://guest:guest@127.0.0.1:5672//
  export NOWAIT_DATABASE_URL=mysql://nowait:nowait@127.0.0.1:3306/nowait"""


def find(program: str) -> str | None:
    """The absolute path of `program`, None when it is not installed."""
    return shutil.which(program, path=os.pathsep.join((*_DIRECTORIES, os.environ.get("PATH", ""))))


def path(program: str) -> str:
    """The absolute path of a program that require() has made sure of."""
    found = find(program)
    if found is None:
        raise LocalError(f"{program} is not installed")
    return found


def require(
    programs: Sequence[str], packages: Mapping[str, Sequence[str]] = PACKAGES, units: Sequence[str] = UNITS
) -> None:
    """Make sure that all of `programs` are installed, with apt where that is possible.

    Args:
        programs: their names.
        packages: for each program, the packages that hold it, the leanest first.
        units: what those packages would have the machine run, and what is left disabled.

    Raises LocalError, with the command that installs them, when they are missing and cannot be
    installed from here.
    """
    missing = [program for program in programs if find(program) is None]
    if not missing:
        return
    apt = shutil.which("apt-get")
    prefix = _privileges()
    if apt is None or prefix is None:
        leanest = sorted({packages[program][0] for program in missing})
        raise LocalError(
            f"missing: {', '.join(missing)}. Install them with\n"
            f"  sudo apt-get install {' '.join(leanest)}\n"
            f"{'' if PACKAGES.keys().isdisjoint(missing) else _CONTAINERS}"
        )
    with Path(__file__).open() as alone:
        # One process of this checkout after another: tests run in several.
        fcntl.flock(alone, fcntl.LOCK_EX)
        missing = [program for program in programs if find(program) is None]
        if missing:
            print(f"installing with apt: {', '.join(missing)} (no service is started)", flush=True)
            subprocess.run([*prefix, apt, "-qq", "update"], check=False)
            _install(sorted({_candidate(packages[program]) for program in missing}), units, apt, prefix)
    still = [program for program in missing if find(program) is None]
    if still:
        raise LocalError(f"installed, but not found: {', '.join(still)}\n{_CONTAINERS}")


def _privileges() -> list[str] | None:
    """What a command is prefixed with to run as root: [] as root, None when that is impossible."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True).returncode == 0:
        return [sudo, "-n"]
    return None


def _install(packages: Sequence[str], units: Sequence[str], apt: str, prefix: list[str]) -> None:
    wanted = {unit for unit in units if _is_wanted(unit)}
    scripts = set(_INIT.glob("*"))
    # env, not the environment of this process: sudo drops the latter.
    command = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", apt]
    with _no_service_starts(prefix):
        done = subprocess.run(
            [*command, "-qq", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0",
             "install", *packages],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
    if done.returncode != 0:
        raise LocalError(
            f"apt-get install {' '.join(packages)} failed:\n{done.stdout[-2000:]}\n{_CONTAINERS}"
        )
    for unit in units:
        if unit not in wanted and _is_wanted(unit):
            subprocess.run([*prefix, "systemctl", "disable", "--now", "--quiet", unit], check=False)
    if shutil.which("systemctl") is None:
        for script in set(_INIT.glob("*")) - scripts:
            subprocess.run([*prefix, "update-rc.d", script.name, "disable"], check=False)


def _candidate(packages: Sequence[str]) -> str:
    """The first of `packages` that apt can install; the last if it knows none."""
    for package in packages:
        shown = subprocess.run(["apt-cache", "show", package], capture_output=True)
        if shown.returncode == 0 and shown.stdout:
            return package
    return packages[-1]


def _is_wanted(unit: str) -> bool:
    """True when the machine runs that unit, or will at its next start."""
    if shutil.which("systemctl") is None:
        return False
    return any(
        subprocess.run(["systemctl", "--quiet", question, unit], capture_output=True).returncode == 0
        for question in ("is-enabled", "is-active")
    )


@contextlib.contextmanager
def _no_service_starts(prefix: list[str]) -> Iterator[None]:
    """Forbid packages to start services, unless the machine's administrator has a policy already."""
    if _POLICY.exists():
        yield
        return
    script = "#!/bin/sh\nexit 101\n"
    subprocess.run([*prefix, "tee", str(_POLICY)], input=script, text=True, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*prefix, "chmod", "755", str(_POLICY)], check=True)
    try:
        yield
    finally:
        subprocess.run([*prefix, "rm", "-f", str(_POLICY)], check=False)
