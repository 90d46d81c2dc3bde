"""Several server processes behind one port: started, replaced when one dies, stopped together.

Each listens for itself (SO_REUSEPORT, socket(7)) and has its own bridge; they share nothing.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence

log = logging.getLogger(__name__)

_PAUSE = 0.5  # seconds from the end of a process to the start of the next one in its place
_GRACE = 5.0  # seconds that a process may need beyond the drain


class Processes:
    """So many processes of one command, until stop() is called.

    A process ends by itself when its standard input does: so it does when this process is killed.

    Args:
        command: program and arguments of each.
        count: how many, 1 or more.
        drain: seconds that they may take to stop.
    """

    def __init__(self, command: Sequence[str], count: int, drain: float) -> None:
        self._command = command
        self._count = count
        self._timeout = drain + _GRACE
        self._running: set[asyncio.subprocess.Process] = set()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Run them; returns after stop()."""
        await asyncio.gather(*(self._keep() for _ in range(self._count)))

    def stop(self) -> None:
        """Ask all to stop (SIGTERM); run() returns once they have ended."""
        self._stopping.set()
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()

    async def _keep(self) -> None:
        """Run one process after the other."""
        while not self._stopping.is_set():
            process = await asyncio.create_subprocess_exec(*self._command, stdin=asyncio.subprocess.PIPE)
            self._running.add(process)
            if self._stopping.is_set():  # it was asked for while the process was made
                process.terminate()
            status = await self._end(process)
            self._running.discard(process)
            if self._stopping.is_set():
                return
            log.error("process %d ended with status %d: another one takes its place", process.pid, status)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _PAUSE)

    async def _end(self, process: asyncio.subprocess.Process) -> int:
        """The exit status of a process; when all are stopping, it gets its time and is killed then."""
        ended = asyncio.ensure_future(process.wait())
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait([ended, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            await asyncio.wait([ended], timeout=self._timeout)
            if not ended.done():
                log.error("process %d did not stop within %g s: it is killed", process.pid, self._timeout)
                process.kill()
        return await ended
