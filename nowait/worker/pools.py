"""How Celery's pools run what waits: threads, or the thread of its event loop."""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Protocol

from celery.concurrency.solo import TaskPool as SoloPool
from celery.concurrency.thread import TaskPool as ThreadPool
from celery.worker import state

from nowait.worker.hub import HubCalls
from nowait.worker.request import Request

_TURN = 0.05  # seconds of tasks in a row of one thread, before the pool's other work, or the event loop, has its turn

Paused = Callable[[], bool]  # nothing is to begin


class Runner(Protocol):
    """Runs requests in their order, as many at once as its pool allows.

    Attributes:
        waiting: those that have not begun: may be added to, and taken from.
    """

    waiting: deque[Request]

    def begin(self) -> None:
        """Have one more begun, if that may be; to be called for each that was added."""


class ThreadRunner:
    """Runs them by the threads of Celery's pool `threads`.

    Its executor is given turns of many requests, not each of them, which would cost more than many a task.
    """

    def __init__(self, pool: Any, paused: Paused) -> None:
        self.waiting: deque[Request] = deque()
        self._pool = pool
        self._executor: Executor = pool.executor
        self._paused = paused
        self._running = 0
        self._lock = threading.Lock()

    def begin(self) -> None:
        with self._lock:
            if not self.waiting or self._running >= self._pool.limit or self._paused():
                return
            self._running += 1
        try:
            self._executor.submit(self._run)
        except RuntimeError:  # the pool has stopped; what waits is given back
            with self._lock:
                self._running -= 1

    def _run(self) -> None:
        end = time.monotonic() + _TURN
        try:
            while not self._paused():
                try:
                    request = self.waiting.popleft()
                except IndexError:
                    break
                request.run()
                if time.monotonic() >= end:
                    break
        finally:
            with self._lock:
                self._running -= 1
            self.begin()


class SoloRunner:
    """Runs them by the thread of Celery's event loop, for its pool `solo`."""

    def __init__(self, hub: HubCalls, paused: Paused) -> None:
        self.waiting: deque[Request] = deque()
        self._hub = hub
        self._paused = paused
        self._due = False

    def begin(self) -> None:
        if not self._due:
            self._due = True
            self._hub.call_soon(self._run)

    def _run(self) -> None:
        self._due = False
        end = time.monotonic() + _TURN
        while self.waiting and not self._paused() and state.should_stop is None and state.should_terminate is None:
            if time.monotonic() >= end:
                self.begin()
                return
            try:
                request = self.waiting.popleft()
            except IndexError:  # it was withdrawn
                return
            request.run()


def runner(pool: object, hub: HubCalls, paused: Paused) -> Runner | None:
    """The runner for a pool of Celery's; None where Celery's own way is taken."""
    if isinstance(pool, ThreadPool):
        return ThreadRunner(pool, paused)
    if isinstance(pool, SoloPool):
        return SoloRunner(hub, paused)
    return None
