"""Tells whoever watches over the worker that it is ready and alive."""

import contextlib
import os
import re
import socket
import time
from pathlib import Path

_PAUSE = 10.0  # seconds between two signs of life, or less where systemd says so


class Watchdog:
    """Says that the worker is ready, once, and from then on that it is alive, as often as that is asked for.

    It tells systemd, by sd_notify(3): that sets NOTIFY_SOCKET, and WATCHDOG_USEC to the microseconds
    after which silence is the end. Without systemd nobody is told.

    Args:
        file: is touched with each sign of life; None for none.
    """

    def __init__(self, file: Path | None = None) -> None:
        # A name in Linux's abstract namespace is written with an @.
        self._address = re.sub("^@", "\0", os.environ.get("NOTIFY_SOCKET", ""))
        limit = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
        self._pause = min(_PAUSE, limit / 4) if limit else _PAUSE
        self._file = file
        self._spoke: float | None = None

    def ready(self) -> None:
        """The worker has begun to consume."""
        if self._spoke is None:
            self._speak("READY=1")

    def alive(self) -> None:
        """The worker does what it should; to be called all the time."""
        if self._spoke is not None and time.monotonic() - self._spoke > self._pause:
            self._speak("WATCHDOG=1")

    def _speak(self, state: str) -> None:
        self._spoke = time.monotonic()
        if self._file is not None:
            self._file.touch()
        if self._address:
            # A systemd that does not listen, or not now, is no reason to work for nobody.
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto(state.encode(), self._address)
