"""Answers in parts: for each a queue of its own, which is there for as long as somebody reads.

The queues are exclusive: they go with the link, and their streams with them. They are on a channel of their own, as a
broker that refuses one of them closes its channel. A worker whose parts a full queue does not take waits, one whose
parts find no queue ends.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable

from amqp.serialization import dumps

from nowait.amqp import methods
from nowait.amqp.methods import Cancelled, Closed, Consuming, Delivery
from nowait.bridge.call import Call, new_id
from nowait.bridge.parts import Parts
from nowait.errors import BridgeError, DeadlineExceeded, Disconnected, OutcomeUnknown, Overloaded, Refused, Stopped
from nowait.link.link import Link
from nowait.link.opener import STREAMS
from nowait.messages.part import queue_of
from nowait.topology import Topology

log = logging.getLogger(__name__)

# Bytes in a queue from which on it takes no more; enough for a worker that waits as long again as it has waited.
_MAX_QUEUED = 1024 * 1024
_ARGUMENTS = bytes(dumps("F", ({"x-max-length-bytes": _MAX_QUEUED, "x-overflow": "reject-publish"},)))
_PREFETCH = 2  # parts at hand: one that is read, and the next
_SILENCE = 5.0  # seconds without anything from a worker, which sends something each second


class Streams:
    """The streams that are read over the links of one bridge.

    Args:
        limit: how many may be read at once.
        topology: where their parts come from.
        on_close: is called when one of them is read no more.
    """

    def __init__(self, limit: int, topology: Topology, on_close: Callable[[], None]) -> None:
        self._limit = limit
        self._topology = topology
        self._on_close = on_close
        self._streams: dict[str, _Stream] = {}  # by their queues
        self._link: Link | None = None
        self._open = False  # the channel of the link

    def __len__(self) -> int:
        return len(self._streams)

    async def read(
        self, usable_link: Callable[[], Link], send: Callable[[str, float], Call], timeout: float
    ) -> AsyncGenerator[bytes, None]:
        """The parts of one stream, see Bridge.stream().

        Args:
            usable_link: gives the link, or raises why there is none.
            send: sends the task, with its id and the seconds that are left.
            timeout: seconds for all of it.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        link, task_id = usable_link(), new_id()
        if len(self._streams) >= self._limit:
            raise Overloaded(f"{self._limit} streams are read")
        queue = queue_of(task_id)
        stream = self._streams[queue] = _Stream(link, Parts(self._topology.worker_user))
        call: Call | None = None
        message: Delivery | None = None
        try:
            self._declare(queue)
            # A task that is faster than the declaration would find no queue.
            await stream.declared(deadline)
            call = send(task_id, deadline - loop.time())
            call.add_done_callback(stream.ended)
            while (message := await stream.next()) is not None:
                yield message.body
                self._acknowledge(stream, message)
        finally:
            if call is not None:
                call.cancel()
            self._close(stream, queue)
            # The traceback of an error leads here, and each of these to the error.
            message = call = None
            stream.release()

    def connected(self, link: Link) -> None:
        """A link came up."""
        self._link, self._open = link, False

    def disconnected(self, reason: str) -> None:
        """The link is lost, and all queues with it."""
        self._link, self._open = None, False
        self._fail_all(f"the connection was lost: {reason}", Disconnected)

    def stop(self) -> None:
        """Nothing is read any more."""
        self._fail_all("the bridge stopped before the stream's end", Stopped)

    def received(self, event: Delivery | Consuming | Cancelled | Closed) -> None:
        """Something came on the channel of the streams."""
        if isinstance(event, Closed):
            log.warning("the broker closed the channel of the streams: %d %s", event.code, event.reason)
            self._open = False
            if self._link is not None:
                self._link.write(methods.confirm_closed(STREAMS))
            self._fail_all(f"the broker closed the channel of the streams: {event.reason}", Refused)
            return
        queue = event.source().consumer_tag if isinstance(event, Delivery) else event.consumer_tag
        stream = self._streams.get(queue)
        if isinstance(event, Delivery):
            if stream is None or not stream.received(event):
                self._write(methods.ack(STREAMS, event.tag, multiple=False))
        elif stream is not None and isinstance(event, Consuming):
            stream.consuming()
        elif stream is not None:
            stream.lose("the queue of the stream was deleted", Disconnected)

    def _fail_all(self, reason: str, before: Callable[[str], BridgeError]) -> None:
        for stream in self._streams.values():
            stream.lose(reason, before)

    def _declare(self, queue: str) -> None:
        frames = [methods.declare_queue(STREAMS, queue, _ARGUMENTS)]
        if self._topology.streams:
            frames.append(methods.bind_queue(STREAMS, queue, self._topology.streams, queue))
        # The consumer's tag is the queue's name.
        frames.append(methods.consume(STREAMS, queue, queue))
        self._write(b"".join(frames))

    def _acknowledge(self, stream: "_Stream", message: Delivery) -> None:
        if message.tag in stream.unacknowledged:
            stream.unacknowledged.discard(message.tag)
            self._write(methods.ack(STREAMS, message.tag, multiple=False))

    def _close(self, stream: "_Stream", queue: str) -> None:
        """Delete the queue of a stream, whatever is in it."""
        del self._streams[queue]
        if stream.link is self._link:
            # The broker would keep the numbers of what was not acknowledged for as long as the channel is open.
            settled = [methods.ack(STREAMS, tag, multiple=False) for tag in stream.unacknowledged]
            self._write(
                b"".join([methods.cancel(STREAMS, queue), *settled, methods.delete_queue(STREAMS, queue)])
            )
        self._on_close()

    def _write(self, frames: bytes) -> None:
        if self._link is not None:
            if not self._open:
                frames = methods.open_channel(STREAMS) + methods.qos(STREAMS, _PREFETCH, False) + frames
                self._open = True
            self._link.write(frames)


class _Stream:
    """One stream, between the bridge and its reader.

    Attributes:
        link: where its queue is.
        unacknowledged: tags of its messages that are not acknowledged.
    """

    def __init__(self, link: Link, parts: Parts) -> None:
        self.link = link
        self.unacknowledged: set[int] = set()
        self._parts = parts
        self._waiting: deque[Delivery] = deque()
        self._declared = False
        self._sent = False
        self._error: BridgeError | None = None
        self._changed = False  # since the reader looked last
        self._waker: asyncio.Future[None] | None = None

    # What the reader does.

    async def declared(self, deadline: float) -> None:
        """Return once the queue is there: the task is to be sent then. Raises DeadlineExceeded, and what has failed."""
        while not self._declared:
            left = deadline - asyncio.get_running_loop().time()
            await self._wait(left, DeadlineExceeded, "there was no queue in time")
        self._sent = True

    async def next(self) -> Delivery | None:
        """The next part; None at the end. Raises what has failed."""
        silence = f"nothing came from the worker for {_SILENCE:g} s"
        while not self._waiting:
            if self._error is None and self._parts.complete:
                return None
            await self._wait(_SILENCE if self._parts.heard else None, OutcomeUnknown, silence)
        return self._waiting.popleft()

    async def _wait(self, timeout: float | None, error: Callable[[str], BridgeError], reason: str) -> None:
        """Return when something has happened. Raises what has failed, `error` when nothing has happened in time."""
        loop = asyncio.get_running_loop()
        timer = None if timeout is None else loop.call_later(timeout, self._expire, error, reason)
        try:
            # Not wait_for(): before Python 3.12 it loses a cancellation of the moment in which something happens.
            if not self._changed:
                self._waker = loop.create_future()
                await self._waker
        finally:
            if timer is not None:
                timer.cancel()
        self._changed = False
        if self._error is not None:
            raise self._error

    def release(self) -> None:
        """Nobody reads any more: let go of what has come, and of the error."""
        self._waiting.clear()
        self._error = None

    def _expire(self, error: Callable[[str], BridgeError], reason: str) -> None:
        """The time to wait is over. After a loop that was held up, what came meanwhile is handled before its timers."""
        if not self._changed:
            self.fail(error(reason))

    # What the broker and the worker do.

    def consuming(self) -> None:
        """The queue is there, and what comes to it is delivered."""
        self._declared = True
        self._change()

    def received(self, message: Delivery) -> bool:
        """A message has come. Returns False when it is to be acknowledged at once, as nobody will read it."""
        self._change()
        try:
            wanted = self._error is None and self._parts.received(message)
        except BridgeError as error:
            # Its traceback would keep the message.
            self.fail(error.with_traceback(None))
            return False
        if wanted:
            self._waiting.append(message)
            self.unacknowledged.add(message.tag)
        return wanted

    def ended(self, call: Call) -> None:
        """The task has ended, or its time."""
        if call.cancelled():
            return
        self._change()
        error = call.exception()
        if isinstance(error, BridgeError):
            self.fail(error)
            return
        try:
            self._parts.ended(call.result())
        except BridgeError as failure:
            self.fail(failure)

    def lose(self, reason: str, before: Callable[[str], BridgeError]) -> None:
        """Nothing more comes: `before` the task was sent, that error; OutcomeUnknown from then on."""
        self.unacknowledged.clear()
        self.fail(OutcomeUnknown(reason) if self._sent else before(reason))

    def fail(self, error: BridgeError) -> None:
        """Nothing more is to be read, unless all of it is here."""
        if not self._parts.complete:
            self._error = self._error or error
            self._waiting.clear()
        self._change()

    def _change(self) -> None:
        self._changed = True
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)
