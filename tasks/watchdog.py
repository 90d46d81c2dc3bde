"""Tells systemd that the worker is ready and alive: sd_notify(3). Nothing happens without systemd."""

import os
import socket
import time


class Watchdog:
    """Says that the worker is ready, once, and from then on that it is alive, as often as that is asked for.

    systemd sets NOTIFY_SOCKET, and WATCHDOG_USEC to the microseconds after which silence is the end.
    """

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._pause = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6 / 4  # seconds; 0 for no watchdog
        self._spoke: float | None = None

    def ready(self) -> None:
        """The worker has begun to consume."""
        if self._spoke is None:
            self._spoke = time.monotonic()
            self._say("READY=1")

    def alive(self) -> None:
        """The worker does what it should; to be called all the time."""
        now = time.monotonic()
        if self._pause and self._spoke is not None and now - self._spoke > self._pause:
            self._spoke = now
            self._say("WATCHDOG=1")

    def _say(self, state: str) -> None:
        if not self._address:
            return
        # A name in Linux's abstract namespace is written with an @.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(state.encode(), self._address.replace("@", "\0", 1))
