"""Several server processes behind one port: started, watched, replaced, stopped together.

Each listens for itself (SO_REUSEPORT, socket(7)) and has its own bridge; they share nothing. Each notifies
of readiness and liveness by sd_notify(3), as to systemd, and this process listens.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Sequence
from uuid import uuid4

log = logging.getLogger(__name__)

_RESTART_DELAY = 0.5  # seconds from the end of a process to the start of the next one in its place
_GRACE = 15.0  # seconds that a process may need to stop beyond the drain
_START_TIMEOUT = 60.0  # seconds until a process is ready


class Liveness(asyncio.DatagramProtocol):
    """What one process has notified of, through a socket of its own.

    Args:
        grace: seconds that it may be silent once it stops.

    Attributes:
        address: of the socket, as NOTIFY_SOCKET has it.
        ready: set once the process serves.
        notified_at: when it notified last, by the loop's clock.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self.address = f"@nowait-{uuid4().hex}"
        self.ready = asyncio.Event()
        self.notified_at = asyncio.get_running_loop().time()

    def datagram_received(self, data: bytes, addr: object) -> None:
        """The process lives."""
        self.notified_at = asyncio.get_running_loop().time()
        if data == b"READY=1":
            self.ready.set()
        elif data == b"STOPPING=1":
            self.notified_at += self._grace

    async def listen(self) -> asyncio.BaseTransport:
        """Receive from now on, until the transport is closed."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(self.address.replace("@", "\0", 1))
        sock.setblocking(False)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=sock)
        return transport


class Processes:
    """So many processes of one command, until stop() is called.

    A process ends by itself when its standard input does: so it does when this process is killed.

    Args:
        command: program and arguments of each.
        count: how many, 1 or more.
        shutdown_timeout: seconds that they may take to stop.
        watchdog: seconds without a notice of liveness after which a process is replaced.
        on_ready: is called once all serve.
    """

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        shutdown_timeout: float,
        watchdog: float = 20.0,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._command = command
        self._count = count
        self._stop_timeout = shutdown_timeout + _GRACE
        self._watchdog = watchdog
        self._on_ready = on_ready
        self._not_ready = count
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Run them; returns after stop()."""
        await asyncio.gather(*(self._keep() for _ in range(self._count)))

    def stop(self) -> None:
        """Ask all to stop (SIGTERM); run() returns once they have ended."""
        self._stopping.set()

    async def _keep(self) -> None:
        """Run one process after the other."""
        first = True
        while not self._stopping.is_set():
            liveness = Liveness(self._stop_timeout)
            transport = await liveness.listen()
            try:
                await self._run(liveness, first)
            finally:
                transport.close()
            first = first and not liveness.ready.is_set()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _RESTART_DELAY)

    async def _run(self, liveness: Liveness, first: bool) -> None:
        """Run one process to its end."""
        environment = {name: value for name, value in os.environ.items() if name != "WATCHDOG_PID"}
        environment |= {"NOTIFY_SOCKET": liveness.address, "WATCHDOG_USEC": str(int(self._watchdog * 1e6))}
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, env=environment
        )
        ended = asyncio.ensure_future(process.wait())
        stopping = asyncio.ensure_future(self._stopping.wait())
        ready = asyncio.ensure_future(liveness.ready.wait())
        try:
            await asyncio.wait([ended, stopping, ready], timeout=_START_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
            if ready.done() and first:
                self._not_ready -= 1
                if not self._not_ready:
                    self._on_ready()
            while ready.done() and not (ended.done() or stopping.done()):
                silent = asyncio.get_running_loop().time() - liveness.notified_at
                if silent >= self._watchdog:
                    break
                await asyncio.wait(
                    [ended, stopping], timeout=self._watchdog - silent, return_when=asyncio.FIRST_COMPLETED
                )
            if stopping.done() and not ended.done():
                process.terminate()
                await asyncio.wait([ended], timeout=self._stop_timeout)
            if not ended.done():
                log.error("server process %d does not answer, killing it", process.pid)
                process.kill()
            status = await ended
            if not stopping.done():
                log.error("server process %d exited with status %d, restarting", process.pid, status)
        finally:
            stopping.cancel()
            ready.cancel()
