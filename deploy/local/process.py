"""One child process: started, watched until ready, stopped; never left behind.

Children live in their own session, so that Ctrl-C in a terminal reaches only the parent, which
then stops them in order. They die with the parent, even if that is killed with SIGKILL: setpriv
(util-linux) sets the parent-death signal, see prctl(2), PR_SET_PDEATHSIG. A parent that died before
that was set sends none, so the child looks once whether its parent is still there.
"""

import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from deploy.local.errors import LocalError

_claims: deque[int] = deque()  # descriptors, see _claim()
_GUARD = ["setpriv", "--pdeathsig", "KILL", "--", "/bin/sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"']
_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")  # ip(7)
_FIRST_PORT = 10_000
_MOST_CLAIMS = 64
_POLL = 0.05  # seconds between two looks at a process or a port


class Process:
    """A child process with its output.

    Args:
        name: what it is called in messages and in front of its lines.
        command: program and arguments; no shell.
        env: its whole environment; None for this process's own.
        cwd: the folder to start it in; None for the current one.
        output: a file that gets stdout and stderr, or a callable that gets each line, without
            its newline, on a thread of its own.

    Attributes:
        name: as given.
        output: as given.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        output: Path | Callable[[str], None],
    ) -> None:
        self.name = name
        self.output = output
        self._reader: threading.Thread | None = None
        guarded = [*_GUARD, str(os.getpid()), *command]
        options: dict[str, Any] = dict(
            env=None if env is None else dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        if isinstance(output, Path):
            output.parent.mkdir(parents=True, exist_ok=True)
            with output.open("wb") as file:
                self._popen: subprocess.Popen[Any] = subprocess.Popen(guarded, stdout=file, **options)
        else:
            self._popen = subprocess.Popen(
                guarded, stdout=subprocess.PIPE, text=True, errors="replace", bufsize=1, **options
            )
            assert self._popen.stdout is not None
            self._reader = threading.Thread(
                target=_relay, args=(self._popen.stdout, output), name=f"{name}-output", daemon=True
            )
            self._reader.start()

    def __repr__(self) -> str:
        return f"<Process {self.name} pid={self.pid} returncode={self.returncode}>"

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._popen.poll()

    def wait_until(self, ready: Callable[[], bool], timeout: float) -> None:
        """Return once `ready()` is true, asking again and again.

        Raises LocalError, with the end of the output file, when the process ends first or
        `timeout` (seconds) passes.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            if self.returncode is not None:
                raise LocalError(f"{self.name} ended with status {self.returncode}{self._tail()}")
            if time.monotonic() > deadline:
                raise LocalError(f"{self.name} was not ready within {timeout:.0f} s{self._tail()}")
            time.sleep(_POLL)

    def wait(self, timeout: float) -> int:
        """Its exit status, once it has ended by itself. Raises LocalError when it has not within `timeout` seconds."""
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise LocalError(f"{self.name} has not ended within {timeout:.0f} s{self._tail()}") from error
        return self._reap()

    def signal(self, number: int) -> None:
        """Send a signal to the process alone; nothing happens when it has ended."""
        self._popen.send_signal(number)

    def terminate(self) -> None:
        """Ask it to stop (SIGTERM), without waiting."""
        self.signal(signal.SIGTERM)

    def stop(self, timeout: float = 10.0) -> int:
        """SIGTERM, then SIGKILL to its whole session after `timeout` seconds.

        Returns its exit status.
        """
        self.terminate()
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return self.kill()
        return self._reap()

    def kill(self) -> int:
        """SIGKILL to its whole session at once. Returns its exit status."""
        if self.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)
        return self._reap()

    def _reap(self) -> int:
        status = self._popen.wait()
        if self._reader is not None:
            # A grandchild may hold the pipe open: what it still writes is not waited for.
            self._reader.join(1.0)
        return status

    def _tail(self) -> str:
        if not isinstance(self.output, Path):
            return ""
        lines = self.output.read_text(errors="replace").splitlines()
        return "\n".join([f"; the end of {self.output}:", *lines[-15:]])


def _relay(stream: IO[str], sink: Callable[[str], None]) -> None:
    with stream:
        for line in stream:
            sink(line.rstrip("\n"))


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on now, and that Linux gives to no outgoing connection meanwhile.

    Nor is it given to another caller: what is to listen there takes its time to start.
    """
    end = int(_OUTGOING.read_text().split()[0]) if _OUTGOING.exists() else 0
    while True:
        # Not from `random`: two processes with the same seed would choose the same ports.
        port = _FIRST_PORT + secrets.randbelow(end - _FIRST_PORT) if end > 2 * _FIRST_PORT else 0
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            port = int(sock.getsockname()[1])
        if _claim(port):
            return port


def _claim(port: int) -> bool:
    """Have a port until this process ends, or has claimed many others since. Returns False when somebody has it."""
    if not _OUTGOING.exists():
        return True
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            # A name of Linux's abstract namespace, which is gone with the last of its descriptors: see unix(7).
            sock.bind(f"\0nowait.port.{port}")
        except OSError:
            return False
        _claims.append(sock.detach())
    if len(_claims) > _MOST_CLAIMS:
        os.close(_claims.popleft())
    return True


def listens(port: int) -> bool:
    """True when something accepts TCP connections on that port of 127.0.0.1."""
    with socket.socket() as sock:
        sock.settimeout(1.0)
        return sock.connect_ex(("127.0.0.1", port)) == 0
