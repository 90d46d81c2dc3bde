"""Celery's event loop, for other threads."""

import contextlib
import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)


class HubCalls:
    """Has functions called by the thread of Celery's event loop, in their order, whoever asks for it.

    Args:
        errors: exceptions that end the event loop: those of its connection, which is then made anew.
    """

    def __init__(self, errors: tuple[type[BaseException], ...]) -> None:
        self._errors = errors
        self._calls: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._due = False
        self._wakes, self._waker = socket.socketpair()
        self._wakes.setblocking(False)
        self._waker.setblocking(False)

    def register(self, hub: Any) -> None:
        """Have them called by this loop (kombu's Hub)."""
        hub.add_reader(self._wakes, self._run)

    def call_soon(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Have a function called soon. May be called by any thread, and by the handler of a signal."""
        self._calls.append((function, arguments))
        self._wake()

    def close(self) -> None:
        """The loop has ended: nothing is called any more."""
        self._wakes.close()
        self._waker.close()

    def _wake(self) -> None:
        if not self._due:
            self._due = True
            with contextlib.suppress(OSError):  # it is closed
                self._waker.send(b"\0")

    def _run(self, *_: Any) -> None:
        self._wakes.recv(4096)
        self._due = False
        # Those that come meanwhile wake the loop again: others on it want their turn.
        for _call in range(len(self._calls)):
            function, arguments = self._calls.popleft()
            try:
                function(*arguments)
            except self._errors:
                self._wake()
                raise
            except Exception:
                log.exception("a call from another thread failed")
