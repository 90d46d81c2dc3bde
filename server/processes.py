"""Several server processes behind one port: started, watched, replaced, stopped together.

Each listens for itself (SO_REUSEPORT, socket(7)) and has its own bridge; they share nothing. Each notifies
of readiness and liveness by sd_notify(3), as to systemd, and this process listens.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from uuid import uuid4

log = logging.getLogger(__name__)

_RESTART_DELAY = 0.5  # seconds from the end of a process to the start of the next one in its place
_GRACE = 15.0  # seconds that a process may need to stop beyond the drain
_START_TIMEOUT = 60.0  # seconds until a process is ready


class Liveness(asyncio.DatagramProtocol):
    """What one process has notified of, through a socket of its own.

    Args:
        watchdog: seconds from one notice of liveness within which the next one is due.
        grace: the same from the notice that it stops.
        on_ready: is called once the process serves.

    Attributes:
        address: of the socket, as NOTIFY_SOCKET has it.
        overdue: set once a notice is.
        ready: the process serves.
    """

    def __init__(self, watchdog: float, grace: float, on_ready: Callable[[], None]) -> None:
        self._watchdog = watchdog
        self._grace = grace
        self._on_ready = on_ready
        self.address = f"@nowait-{uuid4().hex}"
        self.overdue = asyncio.Event()
        self.ready = False
        self._timer = asyncio.get_running_loop().call_later(_START_TIMEOUT, self.overdue.set)

    def datagram_received(self, data: bytes, addr: object) -> None:
        """The process lives."""
        self._timer.cancel()
        seconds = self._grace if data == b"STOPPING=1" else self._watchdog
        self._timer = asyncio.get_running_loop().call_later(seconds, self.overdue.set)
        if data == b"READY=1":
            self.ready = True
            self._on_ready()

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is closed."""
        self._timer.cancel()

    async def listen(self) -> asyncio.BaseTransport:
        """Receive from now on, until the transport is closed."""
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self, family=socket.AF_UNIX, local_addr=self.address.replace("@", "\0", 1)
        )
        return transport


class Processes:
    """So many processes of one command, until stop() is called.

    A process ends by itself when its standard input does: so it does when this process is killed.

    Args:
        command: program and arguments of each.
        count: how many, 1 or more.
        shutdown_timeout: seconds that they may take to stop.
        watchdog: seconds without a notice of liveness after which a process is replaced.
        on_ready: is called once all serve, and for each that replaces another one after that.

    Attributes:
        variables: gives those of the environment of the process at a place, 0 to `count` - 1, besides those of this
            process; to be set before run().
        on_end: is called with the place of each that has ended; the same.
    """

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        shutdown_timeout: float,
        watchdog: float = 20.0,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.variables: Callable[[int], Mapping[str, str]] = lambda _place: {}
        self.on_end: Callable[[int], None] = lambda _place: None
        self._command = command
        self._count = count
        self._stop_timeout = shutdown_timeout + _GRACE
        self._watchdog = watchdog
        self._on_ready = on_ready
        self._ready: set[int] = set()
        self._stopping = asyncio.Event()
        self._running: dict[asyncio.subprocess.Process, Liveness] = {}

    async def run(self) -> None:
        """Run them; returns after stop()."""
        await asyncio.gather(*(self._keep(place) for place in range(self._count)))

    def stop(self) -> None:
        """Have all stop (SIGTERM); run() returns once they have ended."""
        self._stopping.set()

    def signal(self, number: int) -> None:
        """Send a signal to all that serve: one that still starts would be ended by it."""
        for process, liveness in self._running.items():
            if liveness.ready:
                process.send_signal(number)

    async def _keep(self, place: int) -> None:
        """Run one process after the other."""

        def ready() -> None:
            self._ready.add(place)
            if len(self._ready) == self._count:
                self._on_ready()

        while not self._stopping.is_set():
            liveness = Liveness(self._watchdog, self._stop_timeout, ready)
            try:
                with contextlib.closing(await liveness.listen()):
                    await self._run(place, liveness)
            except OSError as error:
                # No process, or no descriptor, is to be had: the others go on.
                log.error("a server process cannot be started: %s", error)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _RESTART_DELAY)

    async def _run(self, place: int, liveness: Liveness) -> None:
        """Run one process to its end."""
        environment = {name: value for name, value in os.environ.items() if name != "WATCHDOG_PID"}
        environment |= {"NOTIFY_SOCKET": liveness.address, "WATCHDOG_USEC": str(int(self._watchdog * 1e6))}
        environment |= self.variables(place)
        process = await asyncio.create_subprocess_exec(*self._command, stdin=asyncio.subprocess.PIPE, env=environment)
        self._running[process] = liveness
        ended = asyncio.ensure_future(process.wait())
        stopping = asyncio.ensure_future(self._stopping.wait())
        overdue = asyncio.ensure_future(liveness.overdue.wait())
        try:
            await asyncio.wait([ended, stopping, overdue], return_when=asyncio.FIRST_COMPLETED)
            if process.returncode is None and stopping.done():
                process.terminate()
                await asyncio.wait([ended], timeout=self._stop_timeout)
            if process.returncode is None:
                log.error("server process %d does not answer, killing it", process.pid)
                process.kill()
            status = await ended
            self.on_end(place)
            if not stopping.done():
                log.error("server process %d exited with status %d, restarting", process.pid, status)
        finally:
            del self._running[process]
            stopping.cancel()
            overdue.cancel()
