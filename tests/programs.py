"""The programs that the tests alone need, found and installed as those of the private services."""

from deploy.local import programs
from deploy.local.programs import find, path

# For each program, the packages that hold it, the leanest first.
PACKAGES = {
    **programs.PACKAGES,
    "ab": ("apache2-utils",),
    "chromium": ("chromium",),
    "curl": ("curl",),
    "git": ("git",),
    "haproxy": ("haproxy",),
    "ip": ("iproute2",),
    "mariadb": ("mariadb-client-core", "mariadb-client"),
    "prometheus": ("prometheus",),
    "promtool": ("prometheus",),
    "redis-server": ("redis-server",),
    "siege": ("siege",),
    "wrk": ("wrk",),
}
UNITS = (*programs.UNITS, "haproxy.service", "prometheus.service", "redis-server.service")


def require(*names: str) -> None:
    """Make sure that all of these programs are installed, with apt where that is possible.

    Raises LocalError, with the command that installs them, when they are missing and cannot be
    installed from here.
    """
    programs.require(names, PACKAGES, UNITS)


__all__ = ["PACKAGES", "UNITS", "find", "path", "require"]
