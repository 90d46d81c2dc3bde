"""Readiness and liveness for systemd, by sd_notify(3), and for whatever watches a file."""

import contextlib
import math
import os
import re
import socket
import time
from pathlib import Path

_INTERVAL = 10.0  # seconds between two notices of liveness, or less where systemd says so


class Notifier:
    """Notifies systemd that the process is ready, alive and stopping; without systemd, nobody.

    systemd sets NOTIFY_SOCKET, and WATCHDOG_USEC to the microseconds of silence that are the end of
    the process WATCHDOG_PID.

    Args:
        file: is touched with each notice of liveness, before ready() too: what watches it is not to end a process that
            waits. From ready() on, `ready` is in it. One of a process before is removed. None for none.

    Attributes:
        interval: seconds after which alive() is due again.
    """

    def __init__(self, file: Path | None = None) -> None:
        # A name in Linux's abstract namespace is written with an @.
        self._address = re.sub("^@", "\0", os.environ.get("NOTIFY_SOCKET", ""))
        watched = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        limit = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6 if watched else 0
        self.interval = min(_INTERVAL, limit / 4) if limit else _INTERVAL
        self._file = file
        if file is not None:
            file.unlink(missing_ok=True)
        self._ready = False
        self._notified = -math.inf

    def ready(self) -> None:
        """The process serves; all calls but the first do nothing."""
        if not self._ready:
            self._ready = True
            self._notify("READY=1")
            if self._file is not None:
                self._file.write_text("ready\n")

    def alive(self) -> None:
        """The process does what it should; to be called often, notifies once per interval, systemd from ready() on."""
        if time.monotonic() - self._notified >= self.interval:
            # Until it is ready, systemd waits for that alone.
            self._notify("WATCHDOG=1" if self._ready else "")

    def stopping(self) -> None:
        """The process begins to stop."""
        self._notify("STOPPING=1")

    def _notify(self, state: str) -> None:
        self._notified = time.monotonic()
        if self._file is not None:
            self._file.touch()
        if self._address and state:
            # A systemd that does not listen, or not now, is no reason to stop serving.
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto(state.encode(), self._address)
