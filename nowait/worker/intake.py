"""A worker's link to its broker, on a thread of its own: deliveries in; replies and settlements out, in batches."""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from amqp.serialization import dumps
from celery import Celery
from kombu import Queue

from nowait.amqp.methods import Confirmed, Delivery, Event
from nowait.budget import Budget
from nowait.link.link import Link
from nowait.link.opener import ConnectionLost, Opener
from nowait.link.supervisor import supervise
from nowait.messages.limits import MAX_TASK_BODY
from nowait.worker.unsettled import Receipt, Reply, Settlement, Unsettled

log = logging.getLogger(__name__)

# Seconds that the broker may take to declare a queue; less than the pause of its heartbeats, see nowait.link.opener.
_SET_UP_TIMEOUT = 10.0
_CLOSE_TIMEOUT = 1.0  # seconds that the broker gets at least for its close-ok
_MOMENT = 0.1  # seconds in which a thread acknowledges the task that it has taken
_LAST_TIMEOUT = 0.5  # seconds that it gets for the last settlements, when the other connection is lost
_MAX_PREFETCH = 65535  # what basic.qos can carry


class Receiver(Protocol):
    """Who gets the deliveries; called on the intake's thread."""

    def receive(self, delivery: Delivery, receipt: Receipt) -> None:
        """A delivery came."""

    def resume(self) -> None:
        """Tasks may begin again: there is room for their replies."""

    def lost(self) -> None:
        """The link is lost: what it delivered and has not begun will be delivered again."""

    def withdraw(self) -> Iterable[Receipt]:
        """No more tasks are to begin: the deliveries that have not."""


class Intake:
    """Keeps the link up.

    Args:
        app: its broker is used.
        receiver: makes who gets the deliveries, and may send replies and settlements by the function that it is given.

    Attributes:
        full: no more tasks are to begin, as too many replies wait for the broker.
    """

    def __init__(self, app: Celery, receiver: Callable[[Callable[[Reply | Settlement], None]], Receiver]) -> None:
        heartbeat = app.conf.broker_heartbeat
        self._opener = Opener(
            app.connection_for_read(heartbeat=heartbeat),
            app.connection_for_write(heartbeat=heartbeat),
            self._set_up,
            min(_SET_UP_TIMEOUT, 0.4 * heartbeat) if heartbeat else _SET_UP_TIMEOUT,
        )
        self._receiver = receiver(self.post)
        self._unsettled = Unsettled()
        self._posted: deque[Reply | Settlement] = deque()
        self._flush_due = False
        self._link: Link | None = None
        self._queues: dict[str, Queue] = {}
        self._prefetch = 0
        self._extra = 0  # more than that: places of those that are not to count
        self._all_consumers = False
        self._withdrawn = False
        self.full = False
        self._loop = asyncio.new_event_loop()
        self._connecting = ThreadPoolExecutor(1, thread_name_prefix="intake-connect")
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    # Called by any thread.

    @property
    def connected(self) -> bool:
        """True while the link is up."""
        return self._link is not None

    @property
    def replies(self) -> int:
        """Replies that wait for the broker, or for its confirm."""
        return self._unsettled.replies

    def start(self, prefetch_count: int, all_consumers: bool) -> None:
        """Begin to connect, if that is not done already.

        Args:
            prefetch_count: how many deliveries may be at hand that are not settled; 0 for no limit.
            all_consumers: see nowait.amqp.methods.qos.
        """
        self.call(self._set_prefetch, prefetch_count, all_consumers)
        if not self._thread.is_alive():
            self._thread.start()

    def post(self, item: Reply | Settlement) -> None:
        """Send a reply, or settle a delivery; soon, and with all others of that moment."""
        self._posted.append(item)
        if not self._flush_due:
            self._flush_due = True
            self.call(self._flush)

    def consume(self, queues: Iterable[Queue]) -> None:
        """Consume these queues, if that is not done already."""
        self.call(self._consume, list(queues))

    def cancel(self, queue: str) -> None:
        """Consume a queue no more."""
        self.call(self._cancel, queue)

    def increment_eventually(self) -> None:
        """Have one more at hand; as kombu.common.QoS has it."""
        self.call(self._add_to_prefetch, 1)

    def decrement_eventually(self) -> None:
        """Have one less at hand again."""
        self.call(self._add_to_prefetch, -1)

    def withdraw(self) -> None:
        """Begin no more tasks: what was delivered, and has not begun, goes back to its queue at once."""
        self.call(self._withdraw)

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function on the intake's thread; not at all once it is closed."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def owes(self, receipt: Receipt) -> bool:
        """True while the link is up by which a delivery came."""
        return self._unsettled.is_current(receipt)

    def close(self, timeout: float) -> None:
        """Send what is left to be sent, and close.

        Args:
            timeout: seconds that the broker gets to confirm the replies; what it has not confirmed by then is lost.
        """
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._close(timeout), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # On the intake's thread.

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        supervision = supervise(
            self._opener, self._connecting, self._connected, self._received, self._disconnected, Budget(MAX_TASK_BODY),
            _LAST_TIMEOUT,
        )  # fmt: skip
        self._supervisor = self._loop.create_task(supervision, name="intake")
        self._loop.run_forever()

    def _set_up(self, channel: Any) -> None:
        """On the connecting thread."""
        for queue in list(self._queues.values()):
            queue(channel).declare()

    def _connected(self, link: Link) -> None:
        self._link = link
        self._unsettled.connected()
        link.prefetch(self._prefetch_count, self._all_consumers)
        if not self._withdrawn:
            for queue in self._queues.values():
                self._consume_on(link, queue)
        self._flush()

    async def _disconnected(self, reason: ConnectionLost) -> None:
        link, self._link = self._link, None
        self._receiver.lost()
        if link is not None and link.consumes:
            # Where the connection of the replies alone is lost, what has begun need not run again.
            try:
                await asyncio.sleep(_MOMENT)
            except asyncio.CancelledError:
                await link.close(0)
                raise
            self._take_posted()
            link.settle(self._unsettled.rejections(), self._unsettled.acknowledgements())
        for reply in self._unsettled.disconnected(reason.refused):
            log.error("a reply to %s was refused, and is dropped: %s", reply.message.routing_key, reason)

    def _received(self, event: Event) -> None:
        if self._link is None:
            return  # one of its connections is lost
        if isinstance(event, Delivery):
            receipt = self._unsettled.delivered(event.tag)
            if self._withdrawn:
                self.post(Settlement(receipt, "requeue"))
            else:
                self._receive(event, receipt)
        elif isinstance(event, Confirmed):
            for reply in self._unsettled.confirmed(event):
                log.error("a reply to %s was refused by its queue, and is dropped", reply.message.routing_key)
            self._schedule_flush()

    def _receive(self, delivery: Delivery, receipt: Receipt) -> None:
        try:
            self._receiver.receive(delivery, receipt)
        except Exception:
            # One message, whatever it is, is not to keep those behind it.
            log.exception("a message could not be received, and is dropped")
            self.post(Settlement(receipt, "drop"))

    def _schedule_flush(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        self._take_posted()
        unsettled = self._unsettled
        link = self._link
        if link is not None:
            for reply in unsettled.to_publish():
                link.publish(link.frames(reply.message, mandatory=False))
            # In this order: an acknowledgement of several must not cover a rejection.
            link.settle(unsettled.rejections(), unsettled.acknowledgements())
        if self.full and not unsettled.full:
            self.full = False
            self._receiver.resume()
        self.full = unsettled.full

    def _take_posted(self) -> None:
        while self._posted:
            item = self._posted.popleft()
            if isinstance(item, Reply):
                self._unsettled.reply(item)
            else:
                self._unsettled.settle(item)

    def _consume(self, queues: list[Queue]) -> None:
        for queue in queues:
            if queue.name not in self._queues:
                self._queues[queue.name] = queue
                if self._link is not None and not self._withdrawn:
                    self._consume_on(self._link, queue)

    def _consume_on(self, link: Link, queue: Queue) -> None:
        arguments: Any = queue.consumer_arguments or {}
        # The consumer's tag is the queue's name.
        link.consume(queue.name, queue.name, bytes(dumps("F", (arguments,))))

    def _cancel(self, queue: str) -> None:
        if self._queues.pop(queue, None) is not None and self._link is not None:
            self._link.cancel(queue)

    @property
    def _prefetch_count(self) -> int:
        return self._prefetch and min(self._prefetch + self._extra, _MAX_PREFETCH)

    def _set_prefetch(self, count: int, all_consumers: bool) -> None:
        self._prefetch, self._all_consumers = count, all_consumers
        self._add_to_prefetch(0)

    def _add_to_prefetch(self, number: int) -> None:
        self._extra += number
        if self._link is not None:
            self._link.prefetch(self._prefetch_count, self._all_consumers)

    def _withdraw(self) -> None:
        if self._withdrawn:
            return
        self._withdrawn = True
        if self._link is not None:
            for queue in self._queues:
                self._link.cancel(queue)
        for receipt in self._receiver.withdraw():
            self._unsettled.settle(Settlement(receipt, "requeue"))
        self._flush()

    async def _close(self, timeout: float) -> None:
        self._withdraw()
        deadline = self._loop.time() + timeout
        while (self._posted or self._unsettled.replies) and self._loop.time() < deadline:
            await asyncio.sleep(0.005)
        if self._unsettled.replies:
            log.error("%d replies were not delivered: the broker did not take them", self._unsettled.replies)
        self._supervisor.cancel()
        await asyncio.gather(self._supervisor, return_exceptions=True)
        if self._link is not None:
            await self._link.close(max(_CLOSE_TIMEOUT, deadline - self._loop.time()))
        self._connecting.shutdown(wait=False, cancel_futures=True)
