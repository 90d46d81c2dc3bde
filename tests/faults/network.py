"""Three network namespaces in a row: client, router, broker. Needs root.

Nothing of the machine's own network is touched; the namespaces end with the `with` block.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

_CLONE_NEWNET = 0x40000000  # <sched.h>
_libc = ctypes.CDLL(None, use_errno=True)


class Network:
    """The namespaces, and the routes between them.

    Attributes:
        client: the client's address.
        broker: the broker's address.
    """

    client, broker = "10.77.1.2", "10.77.2.2"

    def __init__(self) -> None:
        self._names = {part: f"nowait-{os.getpid()}-{part}" for part in ("client", "router", "broker")}

    def __enter__(self) -> "Network":
        client, router, broker = self._names.values()
        for name in self._names.values():
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        for number, name in ((1, client), (2, broker)):
            inner, outer = f"n{number}", f"r{number}"
            _ip("-n", router, "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
            for where, device, host in ((router, outer, 1), (name, inner, 2)):
                _ip("-n", where, "address", "add", f"10.77.{number}.{host}/24", "dev", device)
                _ip("-n", where, "link", "set", device, "up")
            _ip("-n", name, "route", "add", "default", "via", f"10.77.{number}.1")
        with self.inside("router"):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for name in self._names.values():
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)

    def cut(self) -> None:
        """Let packets between client and broker vanish, in both directions."""
        for address in (self.client, self.broker):
            _ip("-n", self._names["router"], "route", "add", "blackhole", f"{address}/32")

    def mend(self) -> None:
        """Let them pass again."""
        for address in (self.client, self.broker):
            _ip("-n", self._names["router"], "route", "delete", "blackhole", f"{address}/32")

    @contextmanager
    def inside(self, part: str) -> Iterator[None]:
        """Put this thread, and the threads and processes that it starts, into a namespace."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self._names[part]}") as there:
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
    subprocess.run(["ip", *arguments], check=True)
