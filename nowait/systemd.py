"""Tells systemd that the server is ready and its loop turns: sd_notify(3). Nothing happens without systemd."""

import asyncio
import contextlib
import os
import re
import socket


class Watchdog:
    """Says that the server is ready, that it is alive for as long as its loop turns, and that it stops.

    systemd sets NOTIFY_SOCKET, and WATCHDOG_USEC to the microseconds after which silence is the end.
    """

    def __init__(self) -> None:
        # A name in Linux's abstract namespace is written with an @.
        self._address = re.sub("^@", "\0", os.environ.get("NOTIFY_SOCKET", ""))
        self._pause = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6 / 4  # seconds; 0 for no watchdog

    def start(self) -> None:
        """The server listens; to be called on its loop."""
        self._say("READY=1")
        self._alive()

    def stop(self) -> None:
        """The server begins to stop."""
        self._say("STOPPING=1")

    def _alive(self) -> None:
        if self._pause:
            self._say("WATCHDOG=1")
            asyncio.get_running_loop().call_later(self._pause, self._alive)

    def _say(self, state: str) -> None:
        if not self._address:
            return
        # A systemd that does not listen, or not now, is no reason to serve nobody.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(state.encode(), self._address)
