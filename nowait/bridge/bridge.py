"""Await the results of Celery tasks on an event loop."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Any
from uuid import uuid4

from celery import Celery

from nowait import background
from nowait.amqp import properties
from nowait.amqp.methods import (
    Cancelled,
    Closed,
    Confirmed,
    Consuming,
    Delivery,
    Event,
    PropertiesTooLarge,
    Returned,
)
from nowait.bridge.call import Call, Progress, new_id, seconds_of
from nowait.bridge.calls import Acknowledge, Calls, Complete, Decode, Effect, GiveUp, Report, Resend, SendProbe
from nowait.bridge.consumer import Consumer
from nowait.bridge.consumers import Consumers
from nowait.bridge.observer import Observer, Stages
from nowait.bridge.publisher import Publisher
from nowait.bridge.reply_queue import ReplyQueue
from nowait.bridge.streams import Streams
from nowait.bridge.subscription import subscribe
from nowait.broker import require_rabbitmq
from nowait.budget import Budget, Share
from nowait.errors import Blocked, BridgeError, Disconnected, MessageTooLarge, Stopped
from nowait.link.link import Link
from nowait.link.opener import HEARTBEAT, STREAMS, TIMEOUT, ConnectionLost, Opener, SingleOpener
from nowait.link.supervisor import Source, supervise
from nowait.messages.encoder import Args, Kwargs, Options, TaskEncoder
from nowait.messages.limits import MAX_LIFETIME, MAX_RECEIVED_REPLY
from nowait.messages.outbound import OutboundMessage
from nowait.messages.reply import MalformedReply, Reply, read_large_reply
from nowait.messages.stream import Offset, StreamMessage
from nowait.topology import Topology

log = logging.getLogger(__name__)

_PERSISTENT = 2  # delivery mode
_CLOSE_TIMEOUT = 1.0  # seconds that the broker gets for its close-ok


@dataclass(frozen=True)
class Statistics:
    """What a bridge is doing, and what it has seen since it was made.

    Attributes:
        state: "stopped", "connecting", "connected" or "blocked".
        in_flight: calls without an answer, and other messages that are not confirmed.
        streams: streams that are read.
        unconfirmed: messages that left and that the broker has not confirmed.
        reply_bytes: bytes of replies that are held, small ones left out; see `max_reply_bytes`.
        connects: how often a connection was made.
        resent: messages that were sent again after a lost connection.
        late: replies to calls that had given up.
        duplicate: replies to calls that were answered before.
        unknown: replies to no call of this process.
        malformed: messages in the reply queue that are no reply, or from the wrong user.
    """

    state: str
    in_flight: int
    streams: int
    unconfirmed: int
    reply_bytes: int
    connects: int
    resent: int
    late: int
    duplicate: int
    unknown: int
    malformed: int


class Bridge:
    """Sends tasks and completes their calls with the results.

    All methods belong on the loop that start() ran on.

    Args:
        app: the Celery application whose broker, routes and defaults count. It should have no tasks:
            options of a registered one would be merged into each message. Its result backend has to be
            `rpc://`, as its workers', or none, and each of its broker URLs readable and RabbitMQ's; ValueError
            otherwise.
        max_in_flight: calls that may wait at once, 1 or more, and as many other messages; above, Overloaded. An eighth
            is kept for clients with less than their share of it.
        max_streams: streams that may be read at once; above, Overloaded. Each one's call counts as in flight, too.
        timeout: seconds that a call may take when it does not say, a finite number.
        max_body: bytes that a message, a task's serialised arguments or another one, may have, as its receivers take
            it; above, MessageTooLarge. None for what the broker takes.
        max_reply_bytes: bytes of replies, and of parts of streams, that may be held at once: as they arrive, and as
            the Encoded results of calls until they are released. A reply for which there is no room fails its call with
            Overloaded, or with OutcomeUnknown where the task may not run twice; a part fails its stream. Then, until
            there is room, new calls are refused.
        topology: where tasks are published to and who sends replies; None for a broker that was not
            provisioned. With an exchange for tasks, `queue=` alone says where a task goes.
        source: opens the connections; None for the application's broker.
        observer: sees each call that has ended; None for nobody.
    """

    def __init__(
        self,
        app: Celery,
        *,
        max_in_flight: int = 1000,
        max_streams: int = 100,
        timeout: float = 30.0,
        max_body: int | None = None,
        max_reply_bytes: int = 256 * 1024 * 1024,
        topology: Topology | None = None,
        source: Source | None = None,
        observer: Observer | None = None,
    ) -> None:
        if source is None:
            require_rabbitmq(app)
        self._observer = observer
        self._timeout = timeout
        self._max_body = max_body
        self._topology = topology or Topology.declared()
        self._default_queue: str = app.conf.task_default_queue
        self._budget = Budget(min(MAX_RECEIVED_REPLY, max_reply_bytes), max_reply_bytes)
        self._calls: Calls[Call] = Calls(max_in_flight, self._budget, self._topology.worker_user)
        self._reply_queue = ReplyQueue(f"nowait.replies.{os.getpid()}.{uuid4().hex}", self._topology.replies)
        self._streams = Streams(max_streams, self._topology, self._check_idle)
        self._encoder = TaskEncoder(app, self._reply_queue.name)
        self._source = source or self._opener(app)
        # What the broker does not like of a message, a subscription or a consumer ends no connection of the calls.
        writing = self._single(app.connection_for_write)
        self._messages = Publisher(writing, max_in_flight, self._check_idle, self._observe)
        # That of a subscription ends the connection of all of them.
        self._subscriptions = Consumers(self._single(app.connection_for_read), "subscriptions")
        self._consumers = Consumers(self._single(app.connection_for_read), "consumers")
        self._declarations = self._single(app.connection_for_read)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="bridge-connect")
        self._declaring = ThreadPoolExecutor(1, thread_name_prefix="bridge-declare")
        self._decoding = ThreadPoolExecutor(1, thread_name_prefix="bridge-decode")
        self._link: Link | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self._idle = asyncio.Event()
        self._connects = 0

    def _opener(self, app: Celery) -> Opener:
        consumer, publisher = (
            connect(heartbeat=HEARTBEAT, connect_timeout=TIMEOUT)
            for connect in (app.connection_for_read, app.connection_for_write)
        )
        return Opener(consumer, publisher, self._reply_queue.declare)

    def _single(self, connect: Callable[..., Any]) -> SingleOpener:
        return SingleOpener(connect(heartbeat=HEARTBEAT, connect_timeout=TIMEOUT))

    def __repr__(self) -> str:
        figures = self.statistics()
        return f"<Bridge {figures.state}, {figures.in_flight} in flight, {figures.unconfirmed} unconfirmed>"

    @property
    def state(self) -> str:
        """ "stopped", "connecting", "connected" or "blocked"; calls are taken when connected."""
        if self._supervisor is None or self._stopping:
            return "stopped"
        if self._link is None:
            return "connecting"
        return "connected" if self._link.blocked is None else "blocked"

    @property
    def in_flight(self) -> int:
        """Calls without an answer, and other messages that are not confirmed."""
        return len(self._calls) + len(self._messages)

    def statistics(self) -> Statistics:
        """The figures of this moment."""
        calls = self._calls
        held = self._budget.used
        unconfirmed = calls.unconfirmed + self._messages.unconfirmed
        numbers = (self.in_flight, len(self._streams), unconfirmed, held, self._connects)
        return Statistics(self.state, *numbers, **vars(calls.counts))

    def hold(self, size: int) -> Share:
        """Count bytes as those of replies that are held, see `max_reply_bytes`, until the share is released.

        For what is made of replies and outlives them. Raises Overloaded where there is no room.
        """
        return self._calls.hold(size)

    async def start(self) -> None:
        """Begin to connect; returns at once, whether or not there is a broker.

        Raises RuntimeError when the bridge was started before.
        """
        if self._supervisor is not None:
            raise RuntimeError("a bridge is started once")
        self._loop = asyncio.get_running_loop()
        supervision = supervise(
            self._source, self._executor, self._connected, self._received, self._disconnected, self._budget
        )
        self._supervisor = self._loop.create_task(supervision, name="bridge")

    async def stop(self, drain: float = 10.0) -> None:
        """Take no more calls, let those in flight end and streams be read, and close. May be called again.

        Args:
            drain: seconds to wait for the calls and streams in flight, at once when there is no connection. 0 does not
                wait. Those left then fail: with OutcomeUnknown where a task that must not run twice was sent, with
                Stopped otherwise.
        """
        self._stopping = True
        if not self._is_idle and self._link is not None and drain > 0:
            idle = asyncio.ensure_future(self._idle.wait())
            ends: list[asyncio.Future[Any]] = [idle, self._link.lost]
            await asyncio.wait(ends, timeout=drain, return_when=asyncio.FIRST_COMPLETED)
            idle.cancel()
        self._carry_out(self._calls.stop())
        self._streams.stop()
        shared = (self._messages, self._subscriptions, self._consumers)
        await asyncio.gather(*(each.stop(_CLOSE_TIMEOUT) for each in shared))
        if self._timer is not None:
            self._timer.cancel()
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        if self._link is not None:
            link, self._link = self._link, None
            link.delete_queue(self._reply_queue.name)
            await link.close(_CLOSE_TIMEOUT)
        # A connect that hangs in its thread ends by its own timeout; nobody waits for it here.
        for executor in (self._executor, self._declaring, self._decoding):
            executor.shutdown(wait=False, cancel_futures=True)

    def send_task(
        self,
        name: str,
        args: Args = None,
        kwargs: Kwargs = None,
        *,
        timeout: float | None = None,
        lifetime: float | None = None,
        task_id: str | None = None,
        idempotent: bool = False,
        encoded: bool = False,
        client: str = "",
        on_progress: Callable[[Progress], None] | None = None,
        headers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Call:
        """Send a task to the workers; never blocks.

        Args:
            name: the task's name.
            args, kwargs: its positional and keyword arguments, JSON values; None for none.
            timeout: seconds until the call fails with DeadlineExceeded. None for the bridge's own; 0 or less fails at
                once.
            lifetime: seconds after which no worker starts the task any more, at most 4,000,000; longer than `timeout`
                for a task that is to run whether or not anybody waits for it. None for `timeout`, or 4,000,000 where
                that is more.
            task_id: the task's id; None for a new one.
            idempotent: the task may run twice: after a lost connection it is sent again when it may be
                lost, under the same id and within its deadline. Otherwise the call fails with
                OutcomeUnknown when the broker had not confirmed its message.
            encoded: the result is to be an Encoded, JSON as text that is not decoded: to be passed on, and then
                released. Where the worker sends one, that costs nothing, whatever its size.
            client: whose call it is: where there is little room, those come first who have less of it than others. ""
                for nobody in particular.
            on_progress: is called, on the loop, with each Progress; None for nobody.
            headers: the message's own, which a task finds in its request; None for none. Those of a trace,
                https://www.w3.org/TR/trace-context/, cost next to nothing.
            options: `queue`, `priority` and the other options of `Celery.send_task`.

        Returns:
            The call. It fails with Disconnected, Blocked, Overloaded, Unroutable, UnknownTask, Refused,
            Stopped or MessageTooLarge when no worker runs the task, OutcomeUnknown when nobody can say,
            DeadlineExceeded when there is no answer in time, TaskFailed when the task fails.
            It is Overloaded, too, when so many calls wait in its queue that there would be no answer in time, as far as
            that is known, unless a lifetime is given: see `nowait.bridge.backlog`.
            With `ignore_result=True` its result is None as soon as the broker has the message.

        Raises:
            TypeError: an option that is not supported, or arguments that JSON cannot carry.
            ValueError: the task id is in flight already, a name is too long for AMQP, the timeout is not finite, or
                the lifetime is not above 0 and at most 4,000,000.
        """
        now = asyncio.get_running_loop().time()
        deadline = now + seconds_of(timeout, self._timeout)
        if lifetime is not None and not 0 < lifetime <= MAX_LIFETIME:
            raise ValueError(f"lifetime: expected seconds, above 0 and at most {MAX_LIFETIME}")
        call = Call(task_id or new_id(), deadline, idempotent, self._abandon)
        call.lifetime = None if lifetime is None else now + lifetime
        call.expects_reply = not options.get("ignore_result")
        call.encoded = encoded
        call.name = name
        call.client = client
        if call.expects_reply and lifetime is None:
            call.queue = options.get("queue") or name
        if headers:
            options["headers"] = dict(headers)
        if on_progress is not None:
            call.listen(on_progress)
        return self._send(call, now, partial(self._task, call.id, name, args, kwargs, options))

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
        bounded: bool = False,
    ) -> Call:
        """Publish a message that is no task, persistent, on a connection apart from the calls'; never blocks.

        Args:
            routing_key: where to; with the default exchange, the queue's name.
            body: the message.
            exchange: "" for the default one.
            kind: its property `type`; None for none.
            content_type: of the body.
            message_id: its id, which the call has, too; None for a new one.
            timeout: seconds in which the broker is to confirm it; None for the bridge's own. 0 or less fails at once.
            bounded: its queue may be full: a nack is QueueFull.

        Returns:
            The call, whose result is None as soon as the broker has the message. It fails with Disconnected, Blocked,
            Overloaded, Unroutable (no such exchange, or no queue), Refused, QueueFull, Stopped or MessageTooLarge when
            the broker does not have it; with OutcomeUnknown and DeadlineExceeded it may.

        Raises ValueError when a name is too long for AMQP, the id is under way, or the timeout is not finite.
        """
        deadline = asyncio.get_running_loop().time() + seconds_of(timeout, self._timeout)
        call = Call(message_id or new_id(), deadline, False, self._messages.abandon)
        call.bounded = bounded
        # A message that is returned is known by its correlation id.
        encoded = properties.encode(
            {
                "content_type": content_type,
                "delivery_mode": _PERSISTENT,
                "correlation_id": call.id,
                "message_id": call.id,
                "timestamp": int(time.time()),
                "type": kind,
                "user_id": self._topology.server_user,
            }
        )
        try:
            # The probe of the link shows soonest whether the broker is there.
            self._usable_link()
            self._check_size(body)
            self._messages.publish(call, OutboundMessage(exchange, routing_key, encoded, body))
        except BridgeError as error:
            call.set_exception(error)
            self._observe(call, error)
        return call

    def subscribe(
        self, stream: str, *, offset: Offset = "next", prefetch: int = 256
    ) -> AsyncGenerator[StreamMessage, None]:
        """Read a RabbitMQ stream: its messages, in order and without an end, on a connection apart from the calls'.

        Args:
            stream: its name.
            offset: where to begin, see `nowait.messages.stream.offset_argument`.
            prefetch: messages that may have come and are not taken yet; the broker keeps all others.

        It raises Disconnected when the connection is lost, or cannot be made: whoever wants to go on subscribes again,
        with the offset behind that of the last message. Further Stopped, Overloaded, Unroutable when there is no such
        stream, Refused when it may not be read; ValueError for an offset that is none.
        """
        return subscribe(self._subscriptions, stream, offset, prefetch)

    @asynccontextmanager
    async def consume(self, queue: str, *, prefetch: int = 1) -> AsyncIterator[Consumer]:
        """Consume a queue for as long as the block lasts, on a connection apart from the calls'.

        Args:
            queue: its name.
            prefetch: messages that may be unacknowledged, 1 to 65535.

        What is not acknowledged when the block ends, or the connection is lost, goes back to its queue. Raises
        Disconnected, Stopped, Overloaded, Unroutable when there is no such queue, Refused when it may not be consumed.
        """
        async with self._consumers.consume(queue, prefetch) as consumer:
            yield consumer

    async def declare(self, queue: str, arguments: Mapping[str, Any]) -> None:
        """Declare a durable queue with these arguments, on a connection that is closed afterwards.

        Raises Stopped; Disconnected when there is none, or the broker has another queue of that name.
        """

        def act(channel: Any) -> None:
            channel.queue_declare(queue, durable=True, auto_delete=False, arguments=dict(arguments))

        if self._stopping:
            raise Stopped("the bridge is stopping")
        try:
            await asyncio.get_running_loop().run_in_executor(self._declaring, self._declarations.do, act)
        except ConnectionLost as error:
            raise Disconnected(str(error)) from error
        except (asyncio.CancelledError, RuntimeError):
            if self._stopping:
                raise Stopped("the bridge is stopping") from None
            raise

    def _send(self, call: Call, now: float, make: Callable[[float], OutboundMessage]) -> Call:
        """Publish the message of a call; `make` makes it, for the seconds that it has to live."""
        try:
            link = self._usable_link()
            self._calls.admit(call.deadline, now, call.queue, client=call.client)
            frames = self._frames(link, call, now, make)
        except BridgeError as error:
            call.set_exception(error)
            self._observe(call, error)
            return call
        if call.idempotent:
            call.message = make
        self._calls.add(call)
        link.publish(frames)
        self._calls.published(call, now)
        if self._timer is None or call.deadline < self._timer.when():
            self._set_timer()
        return call

    def stream(
        self,
        name: str,
        args: Args = None,
        kwargs: Kwargs = None,
        *,
        timeout: float | None = None,
        **options: Any,
    ) -> AsyncGenerator[bytes, None]:
        """Send a task that answers in parts (`nowait.worker.Streaming`), and read them while it runs.

        Nothing is sent before the first part is asked for. A reader that takes its time slows the task down: about
        2 MiB are kept for it, most of them by the broker. One that leaves, by aclose() or cancelled, ends the task: it
        finds its queue gone within a second. The generator ends once all parts were read and the task has succeeded;
        in every other case it raises.

        Args:
            name, args, kwargs, options: as for send_task(), but for `task_id` and `ignore_result`.
            timeout: seconds that the task may take, its reader's time included; None for the bridge's own.

        Raises what a call fails with. What is lost, a connection, a part or the worker (nothing comes from it for
        5 s), is Disconnected before the task was sent, and OutcomeUnknown from then on. ValueError when the timeout is
        not finite.
        """

        def send(task_id: str, left: float) -> Call:
            return self.send_task(name, args, kwargs, timeout=left, task_id=task_id, **options)

        return self._streams.read(self._usable_link, send, seconds_of(timeout, self._timeout))

    def _task(
        self, task_id: str, name: str, args: Args, kwargs: Kwargs, options: Options, left: float
    ) -> OutboundMessage:
        """The message of a task."""
        if self._topology.tasks:
            options = self._topology.routed(options, self._default_queue)
        clock = datetime.now(timezone.utc)
        return self._encoder.encode(name, args, kwargs, task_id=task_id, timeout=left, now=clock, options=options)

    def _frames(self, link: Link, call: Call, now: float, make: Callable[[float], OutboundMessage]) -> bytes:
        """The message of a call, for the wire. Raises as send_task(), and MessageTooLarge."""
        # More would close the channel, for all calls.
        message = make(min((call.lifetime or call.deadline) - now, MAX_LIFETIME))
        self._check_size(message.body)
        call.destination = message.routing_key
        try:
            return link.frames(message)
        except PropertiesTooLarge as error:
            raise MessageTooLarge(str(error)) from error

    def _check_size(self, body: bytes) -> None:
        if self._max_body is not None and len(body) > self._max_body:
            raise MessageTooLarge(f"{len(body)} bytes, {self._max_body} are allowed")

    def _usable_link(self) -> Link:
        """The link to publish on. Raises Stopped, Disconnected or Blocked."""
        if self._supervisor is None or self._stopping:
            raise Stopped("the bridge is stopping" if self._stopping else "the bridge was not started")
        if self._link is None:
            raise Disconnected("no connection to the broker")
        if self._link.blocked is not None:
            raise Blocked(f"the broker takes no messages: {self._link.blocked}")
        return self._link

    def _connected(self, link: Link) -> None:
        self._encoder.reply_to = self._reply_queue.name
        link.consume(self._reply_queue.name)
        self._link = link
        self._connects += 1
        self._streams.connected(link)
        self._calls.connected(self._loop.time())
        self._tick()

    async def _disconnected(self, reason: ConnectionLost) -> None:
        self._link = None
        self._streams.disconnected(str(reason))
        if not reason.refused:
            # It is the broker that is lost: the other connection would notice later.
            self._messages.lose(str(reason))
        self._carry_out(self._calls.disconnected(str(reason), reason.refused))

    def _received(self, event: Event) -> None:
        if isinstance(event, (Delivery, Consuming, Cancelled, Closed)) and event.channel == STREAMS:
            self._streams.received(event)
        elif isinstance(event, Delivery):
            self._carry_out(self._calls.received(event, self._loop.time()))
        elif isinstance(event, Confirmed):
            self._carry_out(self._calls.confirmed(event, self._loop.time()))
        elif isinstance(event, Returned):
            self._carry_out(self._calls.returned(event))

    def _tick(self) -> None:
        self._timer = None
        now, link = self._loop.time(), self._link
        last_received, unblocked_at = (now, None) if link is None else (link.last_received, link.unblocked_at)
        self._carry_out(self._calls.tick(now, last_received, unblocked_at))
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wakeup = self._calls.wakeup
        if wakeup is not None and self._supervisor is not None and not self._supervisor.done():
            self._timer = background.at(wakeup, self._tick)

    def _carry_out(self, effects: Iterable[Effect[Call]]) -> None:
        for effect in effects:
            if isinstance(effect, Complete):
                effect.call.runtime, effect.call.worker = effect.runtime, effect.worker
                effect.call.complete(effect.outcome)
                self._observe(effect.call, effect.outcome if isinstance(effect.outcome, Exception) else None, effect)
            elif isinstance(effect, Report):
                effect.call.report(Progress(effect.state, effect.meta))
            elif isinstance(effect, Decode):
                self._decode(effect)
            elif self._link is None:
                pass  # what remains is for the link
            elif isinstance(effect, Acknowledge):
                self._link.acknowledge(effect.tag, effect.multiple)
            elif isinstance(effect, Resend):
                self._resend(self._link, effect.call)
            elif isinstance(effect, SendProbe):
                self._send_probe(self._link, effect.correlation_id)
            elif isinstance(effect, GiveUp):
                self._link.lose(ConnectionLost(effect.reason))
        self._check_idle()

    def _observe(self, call: Call, error: BaseException | None, effect: Complete[Call] | None = None) -> None:
        """A call has ended, by an effect or otherwise."""
        if self._observer is None:
            return
        answered, run, reply = None, None, None
        if effect is not None:
            answered, run = self._loop.time(), effect.runtime
            reply = None if effect.ended is None else time.time() - effect.ended
        self._observer.ended(call.name, error, Stages.of(call.sent_at, call.confirmed_at, answered, run, reply))

    def _abandon(self, call: Call) -> None:
        self._calls.abandon(call)
        self._observe(call, asyncio.CancelledError())
        self._check_idle()

    @property
    def _is_idle(self) -> bool:
        return not (self._calls or self._streams or self._messages)

    def _check_idle(self) -> None:
        """Have stop() go on once there is nothing to wait for."""
        if self._stopping and self._is_idle:
            self._idle.set()

    def _decode(self, effect: Decode[Call]) -> None:
        def done(read: asyncio.Future[Reply | None]) -> None:
            if not read.cancelled():
                self._carry_out(self._calls.decoded(effect.call, read.result(), self._loop.time()))

        with contextlib.suppress(RuntimeError):  # the bridge has stopped, and the call with it
            reading = self._loop.run_in_executor(self._decoding, _read, effect.message, effect.call.encoded)
            reading.add_done_callback(done)

    def _resend(self, link: Link, call: Call) -> None:
        assert call.message is not None  # it is idempotent
        now = self._loop.time()
        try:
            frames = self._frames(link, call, now, call.message)
        except (BridgeError, TypeError, ValueError) as error:
            # Its caller has changed the arguments since, or this broker's frames are smaller.
            self._calls.abandon(call)
            call.complete(error)
            self._observe(call, error)
        else:
            link.publish(frames)
            self._calls.published(call, now)

    def _send_probe(self, link: Link, correlation_id: str) -> None:
        encoded = properties.encode({"delivery_mode": 1, "correlation_id": correlation_id})
        link.publish(link.frames(OutboundMessage(self._topology.replies, self._reply_queue.name, encoded, b"")))
        self._calls.published(None, self._loop.time())


def _read(message: Delivery, encoded: bool) -> Reply | None:
    """A large reply; None for one that is malformed."""
    try:
        return read_large_reply(message, encoded)
    except MalformedReply:
        return None
    except Exception:  # the call would wait until its deadline
        log.exception("a reply could not be read")
        return None
