"""Hosts in network namespaces of their own, behind one router. Needs root.

Nothing of the machine's own network is touched; the namespaces end with the `with` block.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from tests import programs

_CLONE_NEWNET = 0x40000000  # <sched.h>
_ROUTER = "router"
_libc = ctypes.CDLL(None, use_errno=True)


class Network:
    """The namespaces, and the routes between them.

    Args:
        hosts: their names, each of ten letters at most.
    """

    def __init__(self, *hosts: str) -> None:
        self._hosts = hosts
        mark = uuid4().hex[:8]
        self._names = {part: f"nowait-{mark}-{part}" for part in (*hosts, _ROUTER)}

    def address(self, host: str) -> str:
        """A host's IPv4 address."""
        return f"10.77.{self._hosts.index(host) + 1}.2"

    def name(self, host: str) -> str:
        """The name of a host's namespace, as `ip netns` has it."""
        return self._names[host]

    def __enter__(self) -> "Network":
        programs.require("ip")
        router = self._names[_ROUTER]
        for name in self._names.values():
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        for number, host in enumerate(self._hosts, 1):
            name, inner, outer = self._names[host], f"n{number}", f"r{number}"
            _ip("-n", router, "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
            for where, device, last in ((router, outer, 1), (name, inner, 2)):
                _ip("-n", where, "address", "add", f"10.77.{number}.{last}/24", "dev", device)
                _ip("-n", where, "link", "set", device, "up")
            _ip("-n", name, "route", "add", "default", "via", f"10.77.{number}.1")
        with self.inside(_ROUTER):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for name in self._names.values():
            subprocess.run([programs.path("ip"), "netns", "delete", name], stderr=subprocess.DEVNULL)

    def cut(self, *hosts: str) -> None:
        """Let packets to these hosts vanish."""
        for host in hosts:
            _ip("-n", self._names[_ROUTER], "route", "add", "blackhole", f"{self.address(host)}/32")

    def mend(self, *hosts: str) -> None:
        """Let them pass again."""
        for host in hosts:
            _ip("-n", self._names[_ROUTER], "route", "delete", "blackhole", f"{self.address(host)}/32")

    @contextmanager
    def inside(self, host: str) -> Iterator[None]:
        """Put this thread, and the threads and processes that it starts, onto a host."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self._names[host]}") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _ip(*arguments: str) -> None:
    subprocess.run([programs.path("ip"), *arguments], check=True)
