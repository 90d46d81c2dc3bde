"""The addresses of hosts, without those that a webhook must not reach."""

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

from tornado.netutil import Resolver

from server.webhooks.addresses import AllowList, parse_address

MAX_LOOKUPS = 100  # that may be under way: the system gives up on one after half a minute, those who wait long before

_MAX_ADDRESSES = 8  # of a name, for one attempt

Lookup = Callable[..., list[tuple[Any, ...]]]
"""As socket.getaddrinfo: may block."""


class AddressRefused(OSError):
    """The host has no address that is allowed."""


class GuardedResolver(Resolver):
    """What is connected to is what this returns: there is no second look that could find something else.

    Args:
        allowed: what is allowed besides addresses of the internet.
        lookup: finds the addresses of a name, or of an address in any spelling that the system takes.
    """

    def initialize(self, allowed: AllowList, lookup: Lookup = socket.getaddrinfo) -> None:
        self._allowed = allowed
        self._lookup = lookup
        self._under_way: dict[tuple[str, int], asyncio.Future[Any]] = {}

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[tuple[int, Any]]:
        """As `Resolver.resolve`. Raises AddressRefused, and OSError when there are none, or too many lookups hang."""
        found = await self._look_up(host, port)
        allowed = [(each[0], each[4]) for each in found if self._is_allowed(host.lower(), each[4][0], port)]
        # Each may hold up the attempt, and Tornado tries all of them.
        allowed = allowed[:_MAX_ADDRESSES]
        if not allowed:
            raise AddressRefused("the host has no address that is allowed")
        return allowed

    def _is_allowed(self, host: str, text: str, port: int) -> bool:
        address = parse_address(text)
        return address is not None and self._allowed.permits(host, address, port)

    async def _look_up(self, host: str, port: int) -> list[tuple[Any, ...]]:
        # One lookup for all who need it, so that a name whose servers hang has one thread.
        answer = self._under_way.get((host, port))
        if answer is None:
            if len(self._under_way) >= MAX_LOOKUPS:
                raise OSError("too many lookups of names hang")
            answer = self._begin(host, port)
        found: list[tuple[Any, ...]] = await asyncio.shield(answer)
        return found

    def _begin(self, host: str, port: int) -> "asyncio.Future[Any]":
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._under_way[host, port] = answer
        # What the operator names may be in this machine's own list, which knows no absolute names.
        name = host if self._allowed.names(host.lower()) else _absolute(host)

        def end(found: Any, error: Exception | None) -> None:
            del self._under_way[host, port]
            if error is None:
                answer.set_result(found)
            else:
                answer.set_exception(error)
                answer.exception()  # those who have waited may be gone

        def run() -> None:
            found, error = None, None
            try:
                found = self._lookup(name, port, type=socket.SOCK_STREAM)
            except Exception as raised:  # of a name that cannot be encoded, too
                error = raised
            try:
                loop.call_soon_threadsafe(end, found, error)
            except RuntimeError:
                pass  # the loop is closed

        # No pool: the process does not wait for a daemon's end.
        threading.Thread(target=run, name=f"lookup of {host}"[:40], daemon=True).start()
        return answer


def _absolute(host: str) -> str:
    """The name as it is looked up: behind one with a dot, the system would try its own domains."""
    labels = host.removesuffix(".").split(".")
    # An address has no such form, and its last label a digit in front, also in the spellings that the system takes.
    is_address = parse_address(host) is not None or labels[-1][:1].isdigit()
    return host if len(labels) < 2 or is_address else ".".join(labels) + "."
