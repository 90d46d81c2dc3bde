"""Tasks that answer in parts, while they run, to whoever has called them by `Bridge.stream`.

    streaming = Streaming(app)

    @app.task(bind=True, throws=(ReaderLeft,))
    def numbers(self, count):
        with streaming.open(self.request) as stream:
            for number in range(count):
                stream.write(b"%d\\n" % number)
            return stream.end()
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any
from uuid import uuid4

import amqp
from celery import Celery

from nowait.deadline import Deadline
from nowait.messages.limits import MAX_PART
from nowait.messages.part import PartId, Summary, queue_of
from nowait.topology import Topology
from nowait.worker.publisher import ConfirmedPublisher, NoQueue, QueueFull, Undelivered

log = logging.getLogger(__name__)

_TIMEOUT = 10.0  # seconds that the broker may take for one part
_PATIENCE = 0.1  # seconds that bytes wait for more of them
_PULSE = 0.75  # seconds from one look for the reader to the next
_FIRST_PAUSE = 0.002  # seconds until a full queue is tried again; doubled from try to try
_LAST_PAUSE = 1.0  # seconds at most, for a part
_LAST_LOOK = 0.1  # seconds at most, for a look


class ReaderLeft(Exception):
    """Nobody reads the stream any more."""


class Streaming:
    """Opens the streams of an application's tasks.

    Args:
        app: the worker's application; its broker is used, and its setting `nowait_topology`, if there is one.
    """

    def __init__(self, app: Celery) -> None:
        self._topology: Topology = app.conf.get("nowait_topology", Topology.declared())
        # Not that of the replies: parts would keep its connections busy.
        self._publisher = ConfirmedPublisher(app)

    def open(self, request: Any, on_left: Callable[[], None] | None = None) -> "Stream":
        """The stream of a task, for a `with` block.

        Args:
            request: the task's `self.request`.
            on_left: is called, once and by another thread, when the reader leaves while the task may be busy with
                something else, which it is to end; None for nothing. It must not raise.
        """
        deadline = Deadline.of_expires(request.expires)
        return Stream(self._publisher, self._topology, request.id, deadline, on_left)


class Stream:
    """One stream, as its task writes it; made by Streaming.open().

    What was written leaves when it is enough for a part, or after a tenth of a second; while nothing is written, within
    a second. A reader that takes its time has the task wait.
    """

    def __init__(
        self,
        publisher: ConfirmedPublisher,
        topology: Topology,
        task_id: str,
        deadline: Deadline | None,
        on_left: Callable[[], None] | None,
    ) -> None:
        self._publisher = publisher
        self._exchange = topology.streams
        self._properties = {"delivery_mode": 1, **topology.sender_properties()}
        self._queue = queue_of(task_id)
        self._deadline = deadline
        self._on_left = on_left
        self._run = uuid4().hex
        self._sent = 0  # parts
        self._left_at = 0.0  # when the last one left
        self._buffer = bytearray()
        self._failure: ReaderLeft | Undelivered | None = None
        # Held by the one that publishes: the task, or the thread that looks for the reader meanwhile.
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._pulse = threading.Thread(target=self._look, name="stream", daemon=True)

    def __enter__(self) -> "Stream":
        """Raises ReaderLeft and Undelivered as write() does."""
        with self._lock:
            self._publish(0, b"")
        self._pulse.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed.set()
        # From here on nobody calls on_left.
        self._pulse.join()
        if error is not None and self._failure is not None and error is not self._failure:
            # What the task was busy with has failed because on_left has ended it.
            raise self._failure from error

    def write(self, data: bytes) -> None:
        """Add bytes to the stream; waits while the reader takes its time.

        Raises ReaderLeft when it has left, or the task's time is over, and Undelivered when the broker does not take a
        part. The stream is of no use then.
        """
        with self._lock:
            self._buffer += data
            while len(self._buffer) >= MAX_PART:
                self._send(MAX_PART)
            if self._buffer and time.monotonic() - self._left_at > _PATIENCE:
                self._send(len(self._buffer))
            if self._failure is not None:
                raise self._failure

    def end(self) -> dict[str, Any]:
        """Send what is left; returns what the task has to return. Raises as write() does."""
        with self._lock:
            if self._buffer:
                self._send(len(self._buffer))
            if self._failure is not None:
                raise self._failure
            return Summary(self._run, self._sent).document()

    def _send(self, size: int) -> None:
        """Send the next part, of so many bytes of the buffer. With the lock."""
        self._publish(self._sent + 1, bytes(self._buffer[:size]))
        self._sent += 1
        self._left_at = time.monotonic()
        del self._buffer[:size]

    def _publish(self, number: int, body: bytes) -> None:
        """Publish a part once the queue takes it. With the lock."""
        if self._failure is not None:
            raise self._failure
        try:
            pause = look = _FIRST_PAUSE
            while not self._is_taken(number, body):
                # A part that a full queue refuses has travelled for nothing: what is tried meanwhile is empty. It
                # may fit where a part does not.
                again = time.monotonic() + pause
                pause = min(2 * pause, _LAST_PAUSE)
                while not self._closed.wait(look):
                    look = min(2 * look, _LAST_LOOK)
                    if self._is_taken(0, b"") and time.monotonic() >= again:
                        break
                else:
                    raise ReaderLeft("the task has ended")
        except (ReaderLeft, Undelivered) as failure:
            self._failure = failure
            raise

    def _is_taken(self, number: int, body: bytes) -> bool:
        """Publish a part, or look for the reader (0). False when the queue is full; raises as write()."""
        if self._deadline is not None and not self._deadline.remaining():
            raise ReaderLeft("the time of the task is over")
        message = amqp.Message(body, message_id=str(PartId(self._run, number)), **self._properties)
        try:
            self._publisher.publish(message, self._exchange, self._queue, _TIMEOUT, mandatory=True)
        except QueueFull:
            return False
        except NoQueue:
            raise ReaderLeft("nobody reads the stream any more") from None
        return True

    def _look(self) -> None:
        """Look for the reader while the task is busy, and send what has waited for more: a thread."""
        while not self._closed.wait(_PULSE):
            # A task that publishes finds out by itself.
            if not self._lock.acquire(blocking=False):
                continue
            try:
                if self._buffer:
                    self._send(len(self._buffer))
                else:
                    self._is_taken(0, b"")
            except (ReaderLeft, Undelivered) as failure:
                self._failure = failure
            finally:
                self._lock.release()
            if self._failure is not None:
                with contextlib.suppress(Exception):
                    if self._on_left is not None:
                        self._on_left()
                return
