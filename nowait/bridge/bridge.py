"""Await the results of Celery tasks on an event loop."""

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

from celery import Celery

from nowait.amqp import protocol
from nowait.bridge.call import Call, Progress
from nowait.bridge.calls import Calls
from nowait.bridge.connection import ConnectionLost
from nowait.bridge.link import Connector, Link
from nowait.errors import (
    Blocked,
    BridgeError,
    DeadlineExceeded,
    Disconnected,
    OutcomeUnknown,
    Refused,
    Stopped,
    TaskFailed,
    Unroutable,
)
from nowait.messages.encoder import Args, Kwargs, RequestEncoder
from nowait.messages.reply import MalformedReply, decode_reply
from nowait.topology import Topology

log = logging.getLogger(__name__)

_BACKOFF_FIRST, _BACKOFF_LAST = 0.1, 1.0  # seconds between tries to connect
_GOODBYE = 1.0  # seconds that the broker gets to answer a goodbye
_POLL = 0.02  # seconds between two looks at the calls that are drained


def _now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass(frozen=True)
class Statistics:
    """What a bridge is doing, and what it has seen since it was made.

    Attributes:
        state: "stopped", "connecting", "connected" or "blocked".
        in_flight: calls without an answer.
        unconfirmed: messages that left and that the broker has not confirmed.
        connects: how often a connection was made.
        resent: messages that were sent again after a lost connection.
        late: replies to calls that had given up.
        duplicate: replies to calls that were answered before.
        unknown: replies to no call of this process.
        malformed: messages in the reply queue that are no reply, or from the wrong user.
    """

    state: str
    in_flight: int
    unconfirmed: int
    connects: int
    resent: int
    late: int
    duplicate: int
    unknown: int
    malformed: int


class Bridge:
    """Sends tasks and hands their results to whoever awaits them.

    All methods belong on the loop that start() ran on.

    Args:
        app: the Celery application whose broker, routes and defaults count. It should know no
            tasks: options of a registered one would be merged into each message. Its result
            backend has to be `rpc://`, as its workers', or none; ValueError otherwise.
        max_in_flight: calls that may wait at once, 1 or more; above, Overloaded.
        timeout: seconds that a call may take when it does not say.
        topology: where tasks are published to and replies come from; None for a broker that knows
            nothing of Nowait. With an exchange for tasks, `queue=` alone says where one goes.
    """

    def __init__(
        self,
        app: Celery,
        *,
        max_in_flight: int = 1000,
        timeout: float = 30.0,
        topology: Topology | None = None,
    ) -> None:
        self._timeout = timeout
        self._topology = topology or Topology.declared()
        self._default_queue: str = app.conf.task_default_queue
        self._calls: Calls[Call] = Calls(max_in_flight)
        reply_queue = f"nowait.replies.{os.getpid()}.{uuid4().hex}"
        self._encoder = RequestEncoder(app, reply_queue)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="bridge-connect")
        self._connector = Connector(app, reply_queue, self._topology.replies, self._executor)
        self._link: Link | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._stopping = False
        self._connects = 0
        self._resent = 0
        self._malformed = 0

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

    def statistics(self) -> Statistics:
        """The figures of this moment."""
        strays = self._calls.strays
        return Statistics(
            state=self.state,
            in_flight=len(self._calls),
            unconfirmed=self._link.unconfirmed if self._link else 0,
            connects=self._connects,
            resent=self._resent,
            late=strays.late,
            duplicate=strays.duplicate,
            unknown=strays.unknown,
            malformed=self._malformed,
        )

    async def start(self) -> None:
        """Begin to connect; returns at once, whether or not there is a broker.

        Raises RuntimeError when the bridge was started before.
        """
        if self._supervisor is not None:
            raise RuntimeError("a bridge is started once")
        self._supervisor = asyncio.get_running_loop().create_task(self._supervise(), name="bridge")

    async def stop(self, drain: float = 10.0) -> None:
        """Take no more calls, let those in flight end, and close.

        Args:
            drain: seconds to wait for the calls in flight; those left then fail with Stopped.
                0 does not wait.
        """
        self._stopping = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + drain
        while len(self._calls) and self._link is not None and loop.time() < deadline:
            await asyncio.sleep(_POLL)
        for call_id in self._calls.ids():
            self._fail(call_id, Stopped("the bridge stopped before an answer came"))
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        if self._link is not None:
            link, self._link = self._link, None
            await link.close(_GOODBYE)
        # A connect that hangs in its thread ends by its own timeout; nobody waits for it here.
        self._executor.shutdown(wait=False, cancel_futures=True)

    def send_task(
        self,
        name: str,
        args: Args = None,
        kwargs: Kwargs = None,
        *,
        timeout: float | None = None,
        task_id: str | None = None,
        idempotent: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        **options: Any,
    ) -> Call:
        """Send a task to the workers; never blocks.

        Args:
            name: the task's name.
            args: its positional arguments, JSON values; None for none.
            kwargs: its keyword arguments, JSON values; None for none.
            timeout: seconds until the call fails with DeadlineExceeded; also the time after
                which no worker starts the task any more. None for the bridge's own; 0 or less
                fails at once.
            task_id: the task's id; None for a new one.
            idempotent: the task may run twice: after a lost connection it is sent again, under
                the same id and within its deadline. Otherwise the call fails with
                OutcomeUnknown when the broker had not confirmed its message.
            on_progress: is called, on the loop, with each Progress; None for nobody.
            options: `queue`, `priority`, `headers` and the other options of `Celery.send_task`.

        Returns:
            The call. It fails with Disconnected, Blocked, Overloaded, Unroutable, Refused or
            Stopped when no worker gets the task, OutcomeUnknown when nobody can say,
            DeadlineExceeded when there is no answer in time, TaskFailed when the task fails.
            With `ignore_result=True` its result is None as soon as the broker has the message.

        Raises:
            TypeError: an option that is not supported, or arguments that JSON cannot carry.
            ValueError: the task id is in flight already, or a name is too long for AMQP.
        """
        if self._topology.tasks:
            options = self._routed(options)
        call = Call(task_id or str(uuid4()), self._abandon, idempotent)
        timeout = self._timeout if timeout is None else timeout
        try:
            link = self._usable_link()
            self._calls.admit()
            if timeout <= 0:
                raise DeadlineExceeded("the deadline passed before the task was sent")
        except BridgeError as error:
            call.set_exception(error)
            return call
        request = self._encoder.encode(
            name, args, kwargs, task_id=call.id, timeout=timeout, now=_now(), options=options
        )
        call.replies = request.replies
        if idempotent:
            call.again = (name, args, kwargs, options)
        if on_progress is not None:
            call.listen(on_progress)
        self._calls.add(call.id, call)
        try:
            link.publish(request)
        except ValueError:
            self._calls.abandon(call.id)
            raise
        call.timer = call.get_loop().call_later(timeout, self._expire, call.id, timeout)
        return call

    def _routed(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options of a task for the topology's exchange, from the user that it names."""
        queue = options.pop("queue", self._default_queue)
        routed = {"exchange": self._topology.tasks, "routing_key": queue, **options}
        return routed if self._topology.server_user is None else {**routed, "user_id": self._topology.server_user}

    def _usable_link(self) -> Link:
        """The link to publish on. Raises Stopped, Disconnected or Blocked."""
        if self._supervisor is None or self._stopping:
            raise Stopped("the bridge is stopping" if self._stopping else "the bridge was not started")
        if self._link is None:
            raise Disconnected("no connection to the broker")
        if self._link.blocked is not None:
            raise Blocked(f"the broker takes no messages: {self._link.blocked}")
        return self._link

    async def _supervise(self) -> None:
        """Connect, wait until the connection is lost, connect again, for ever."""
        delay = _BACKOFF_FIRST
        while True:
            try:
                link = await self._connector.connect(self)
            except ConnectionLost as error:
                log.warning("broker: not connected, next try in about %.1f s: %s", delay, error)
                # Jitter, so that the servers of a fleet do not all come back in one moment.
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))
                delay = min(delay * 2, _BACKOFF_LAST)
                continue
            self._encoder.reply_to = link.reply_queue
            self._link = link
            self._connects += 1
            delay = _BACKOFF_FIRST
            log.info("broker: connected")
            reason = await asyncio.shield(link.lost)
            self._link = None
            log.warning("broker: connection lost with %d calls in flight: %s", len(self._calls), reason)
            for call_id in self._calls.unknown(reason.refused):
                self._fail(call_id, OutcomeUnknown(f"the connection was lost with the task under way: {reason}"))
            await link.close(0)

    def on_caught_up(self) -> None:
        """A new link has told all replies that waited: what is still open may be lost."""
        link = self._link
        if self._connects < 2 or link is None:
            return
        for call in self._calls.to_send_again():
            remaining = call.timer.when() - call.get_loop().time() if call.timer is not None else 0
            if call.again is not None and remaining > 0:
                name, args, kwargs, options = call.again
                call.confirmed = False
                self._resent += 1
                link.publish(
                    self._encoder.encode(
                        name, args, kwargs, task_id=call.id, timeout=remaining, now=_now(), options=options
                    )
                )

    def on_reply(self, reply: protocol.Delivery) -> None:
        """A message came to the reply queue: settle its call."""
        call_id = reply.correlation_id
        call = self._calls.peek(call_id)
        if call is None:
            # Not read at all: nobody waits for what it says.
            self._calls.stray(call_id)
            return
        if self._topology.worker_user not in (None, reply.user_id):
            self._malformed += 1
            log.warning("a reply for %s came from the user %r and is ignored", call_id, reply.user_id)
            return
        if reply.body is None:
            self._malformed += 1
            self._fail(call_id, TaskFailed("FAILURE", "ReplyTooLarge", "the reply is too large to be kept"))
            return
        try:
            answer = decode_reply(reply.body, reply.content_type)
        except MalformedReply as error:
            self._malformed += 1
            log.debug("malformed reply for %s: %s", call_id, error)
            return
        if not answer.final:
            for listener in call.listeners or ():
                call.get_loop().call_soon(listener, Progress(answer.state, answer.result))
            return
        self._calls.answer(call_id)
        call.run = answer.run
        if answer.state == "SUCCESS":
            self._settle(call, answer.result)
        elif answer.expired:
            self._settle(call, DeadlineExceeded("the deadline passed before a worker began the task"))
        else:
            self._settle(call, TaskFailed(answer.state, *answer.failure()))

    def on_unroutable(self, call_id: str, reason: str) -> None:
        """The broker has no queue for the call's message."""
        self._fail(call_id, Unroutable(f"no queue takes the task: {reason}"))

    def on_settled(self, call_ids: list[str], acked: bool) -> None:
        """The broker confirmed the messages of these calls, or refused them."""
        for call_id in call_ids:
            if not acked:
                self._fail(call_id, Refused("the broker refused the message"))
                continue
            call = self._calls.peek(call_id)
            if call is None:
                continue
            call.confirmed = True
            if not call.replies:
                self._calls.answer(call_id)
                self._settle(call, None)

    def on_unconfirmed(self, call_ids: list[str]) -> None:
        """The broker is slow to confirm the messages of these calls."""
        for call_id in call_ids:
            self._fail(call_id, OutcomeUnknown("the broker did not confirm the message in time"))

    def _expire(self, call_id: str, timeout: float) -> None:
        self._fail(call_id, DeadlineExceeded(f"no answer within {timeout:g} s"))

    def _fail(self, call_id: str, error: BridgeError) -> None:
        call = self._calls.abandon(call_id)
        if call is not None:
            self._settle(call, error)

    def _abandon(self, call: Call) -> None:
        self._calls.abandon(call.id)
        if call.timer is not None:
            call.timer.cancel()

    def _settle(self, call: Call, outcome: Any) -> None:
        """End a call that has left the table, with a result or a BridgeError."""
        if call.timer is not None:
            call.timer.cancel()
        if call.done():
            return
        if isinstance(outcome, BridgeError):
            call.set_exception(outcome)
        else:
            call.set_result(outcome)
