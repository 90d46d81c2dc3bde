"""The fake bridge. It keeps the promises of `Bridge` that its callers rely on; the same tests run over
both.
"""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any

from nowait.bridge.call import Call, new_id, seconds_of
from nowait.bridge.calls import Calls
from nowait.bridge.consumer import Consumer
from nowait.budget import Budget, Share
from nowait.errors import (
    BridgeError,
    DeadlineExceeded,
    Disconnected,
    OutcomeUnknown,
    Overloaded,
    Stopped,
    TaskFailed,
    Unroutable,
)
from nowait.messages.encoded import Encoded
from nowait.messages.limits import MAX_RECEIVED_REPLY
from nowait.messages.part import Summary
from nowait.messages.stream import Offset, StreamMessage
from nowait.testing.queues import MemoryBroker


class FakeBridge:
    """Runs the "tasks" on the loop itself.

    Args:
        tasks: by name, functions or coroutine functions; for stream(), functions that are asynchronous generators of
            bytes. A BridgeError that one raises is the call's, anything else becomes TaskFailed. A task that is not
            there is never answered.
        queues: the queues of tasks that exist; a task sent to another one fails with Unroutable.
        bounds: queues of other messages, with as many as may wait in each; None for any number.
        streams: the streams that exist.
        routes: exchanges, each with the queue or stream that gets all of its messages.
        max_in_flight: calls that may wait at once; above, Overloaded.
        max_streams: streams that may be read at once; above, Overloaded.
        timeout: seconds that a call may take when it does not say.
        max_reply_bytes: bytes that may be held at once by hold(); above, Overloaded.

    Attributes:
        state: "connected", or anything else to refuse calls with Disconnected.
        sent: name, args and kwargs of all tasks that were taken, in order.
        idempotent: of each of them, whether it may run twice.
    """

    def __init__(
        self,
        tasks: Mapping[str, Callable[..., Any]],
        *,
        queues: Collection[str] = (),
        bounds: Mapping[str, int | None] | None = None,
        streams: Collection[str] = (),
        routes: Mapping[str, str] | None = None,
        max_in_flight: int = 1000,
        max_streams: int = 100,
        timeout: float = 30.0,
        max_reply_bytes: int = 256 * 1024 * 1024,
    ) -> None:
        self.state = "connected"
        self.sent: list[tuple[str, list[Any], dict[str, Any]]] = []
        self.idempotent: list[bool] = []
        self._tasks = tasks
        self._queues = queues
        self._broker = MemoryBroker(bounds or {}, list(streams), routes or {})
        self._timeout = timeout
        self._calls: Calls[Call] = Calls(max_in_flight, Budget(MAX_RECEIVED_REPLY, max_reply_bytes))
        self._running: dict[str, asyncio.Task[None]] = {}  # by the ids of their calls
        self._max_streams = max_streams
        self._parts: dict[str, asyncio.Queue[bytes]] = {}  # of the streams, in the same way

    @property
    def in_flight(self) -> int:
        """Calls without an answer."""
        return len(self._calls)

    @property
    def streams(self) -> int:
        """Streams that are read."""
        return len(self._parts)

    def hold(self, size: int) -> Share:
        """As `Bridge.hold`."""
        return self._calls.hold(size)

    async def start(self) -> None:
        """Nothing to connect."""

    async def stop(self, drain: float = 0.0) -> None:
        """Fail what is in flight and take no more calls; `drain` is not waited for."""
        self.state = "stopped"
        self.end_consumers(Stopped("the bridge is stopping"))
        text = "the bridge stopped before an answer came"
        for call in self._calls:
            self._complete(call, Stopped(text) if call.idempotent else OutcomeUnknown(text))
        for task in list(self._running.values()):
            task.cancel()

    def send_task(
        self,
        name: str,
        args: list[Any] | tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        *,
        timeout: float | None = None,
        lifetime: float | None = None,
        task_id: str | None = None,
        idempotent: bool = False,
        encoded: bool = False,
        ignore_result: bool = False,
        client: str = "",
        queue: str,
        headers: Mapping[str, Any] | None = None,
    ) -> Call:
        """As `Bridge.send_task`; the task runs at once, whatever its `lifetime`, and gets no headers."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds_of(timeout, self._timeout)
        call = Call(task_id or new_id(), deadline, idempotent, self._calls.abandon)
        call.encoded = encoded
        call.client = client
        if lifetime is None and not ignore_result:
            call.queue = queue
        try:
            self._check_state()
            self._calls.admit(deadline, loop.time(), call.queue, client)
            if queue not in self._queues:
                raise Unroutable("no queue takes the task")
        except BridgeError as error:
            call.set_exception(error)
            return call
        self._calls.add(call)
        self.sent.append((name, list(args or ()), dict(kwargs or {})))
        self.idempotent.append(idempotent)
        timer = loop.call_at(deadline, self._complete, call, DeadlineExceeded("no answer before the deadline"))
        call.add_done_callback(lambda _: timer.cancel())
        call.confirmed = True
        if name in self._tasks:
            self._running[call.id] = task = loop.create_task(self._run(call, name, args or (), kwargs or {}))
            task.add_done_callback(lambda _: self._running.pop(call.id))
        if ignore_result:
            self._complete(call, None)
        return call

    async def stream(
        self,
        name: str,
        args: list[Any] | tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        *,
        timeout: float | None = None,
        client: str = "",
        queue: str,
    ) -> AsyncGenerator[bytes, None]:
        """As `Bridge.stream`."""
        loop = asyncio.get_running_loop()
        self._check_state()
        if len(self._parts) >= self._max_streams:
            raise Overloaded(f"{self._max_streams} streams are read")
        task_id = new_id()
        parts = self._parts[task_id] = asyncio.Queue(1)
        call = self.send_task(name, args, kwargs, timeout=timeout, task_id=task_id, client=client, queue=queue)
        try:
            while True:
                part = loop.create_task(parts.get())
                try:
                    await asyncio.wait([part, call], return_when=asyncio.FIRST_COMPLETED)
                    if not part.done():
                        if Summary.parse(call.result()) is None:
                            raise TaskFailed("FAILURE", "NoStream", "the task does not answer in parts")
                        return
                finally:
                    part.cancel()
                yield part.result()
        finally:
            del self._parts[task_id]
            call.cancel()
            if task_id in self._running:
                self._running[task_id].cancel()

    def publish(
        self,
        routing_key: str,
        body: bytes,
        *,
        exchange: str = "",
        kind: str | None = None,
        content_type: str = "application/json",
        message_id: str | None = None,
        timeout: float | None = None,
        idempotent: bool = False,
        bounded: bool = False,
    ) -> Call:
        """As `Bridge.publish`; it is confirmed at once."""
        now = asyncio.get_running_loop().time()
        deadline = now + seconds_of(timeout, self._timeout)
        call = Call(message_id or new_id(), deadline, idempotent, self._calls.abandon)
        try:
            self._check_state()
            self._calls.admit(deadline, now)
            named = {"type": kind, "content_type": content_type, "message_id": call.id}
            self._broker.publish(exchange, routing_key, body, bounded, **named)
        except BridgeError as error:
            call.set_exception(error)
        else:
            call.set_result(None)
        return call

    async def subscribe(
        self, stream: str, *, offset: Offset = "next", prefetch: int = 256
    ) -> AsyncGenerator[StreamMessage, None]:
        """As `Bridge.subscribe`."""
        self._check_state()
        if stream not in self._broker.streams:
            raise Unroutable("no such stream")
        async with contextlib.aclosing(self._broker.streams[stream].read(offset)) as messages:
            async for message in messages:
                yield message

    @contextlib.asynccontextmanager
    async def consume(self, queue: str, *, prefetch: int = 1) -> AsyncIterator[Consumer]:
        """As `Bridge.consume`."""
        self._check_state()
        if queue not in self._broker.queues:
            raise Unroutable("no such queue")
        async with self._broker.queues[queue].consume(prefetch) as consumer:
            yield consumer

    async def declare(self, queue: str, arguments: Mapping[str, Any]) -> None:
        """As `Bridge.declare`."""
        self._check_state()
        self._broker.declare(queue, arguments)

    def waiting(self, queue: str) -> int:
        """How many messages wait in one of the queues of messages."""
        return len(self._broker.queues[queue])

    def truncate_stream(self, stream: str, offset: int) -> None:
        """Have the messages before an offset gone, as a broker drops what is old."""
        self._broker.streams[stream].truncate(offset)

    def replace_stream(self, stream: str) -> None:
        """Put an empty stream in its place, as a broker that has lost its data has one."""
        self._broker.streams.pop(stream).fail(Disconnected("the broker was replaced"))
        self._broker.declare(stream, {"x-queue-type": "stream"})

    def end_consumers(self, error: BridgeError) -> None:
        """End all subscriptions and consumers, as a lost connection does."""
        self._broker.fail(error)

    def _check_state(self) -> None:
        if self.state == "stopped":
            raise Stopped("the bridge is stopping")
        if self.state != "connected":
            raise Disconnected("no connection to the broker")

    async def _run(self, call: Call, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        try:
            result = self._tasks[name](*args, **kwargs)
            if inspect.isasyncgen(result):
                result = await self._feed(call.id, result)
            elif inspect.isawaitable(result):
                result = await result
            if isinstance(result, Encoded) and not call.encoded:
                result = result.decode()
            elif call.encoded and not isinstance(result, Encoded):
                result = Encoded.of(result)
        except Exception as error:
            failure = TaskFailed("FAILURE", type(error).__name__, str(error))
            result = error if isinstance(error, BridgeError) else failure
        self._complete(call, result)

    async def _feed(self, call_id: str, parts: Any) -> dict[str, Any]:
        sent = 0
        async with contextlib.aclosing(parts):
            async for part in parts:
                await self._parts[call_id].put(part)
                sent += 1
        return Summary(call_id, sent).document()

    def _complete(self, call: Call, outcome: Any) -> None:
        self._calls.abandon(call)
        call.complete(outcome)
