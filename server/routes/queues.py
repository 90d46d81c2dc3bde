"""Queues: one consumer gets each message."""

import asyncio
import contextlib
from typing import Any

from tornado.web import HTTPError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from nowait.bridge import Consumer
from nowait.errors import BridgeError, Overloaded
from server.http import prefer
from server.http.access import Access
from server.http.body import read_json_line
from server.http.context import Context
from server.http.handler import BaseHandler, write_json
from server.http.problem import TOO_MANY_CONSUMERS, ProblemError
from server.http.sockets import BAD_COMMAND, GOING_AWAY, KEY_ENDED, LEASE_OVER, TRY_AGAIN, SocketHandler
from server.keys.quota import SUBSCRIBERS
from server.openapi.offer import Offer
from server.openapi.operation import Answer, Operation, Parameter, json, members, path
from server.openapi.shared import MESSAGE, PREFER_ROOM, TEXT
from server.queues.queues import Queues, TooManyConsumers
from server.queues.session import BadCommand, Session

_NAME = "([A-Za-z0-9_-]{1,64})"
_MAX_MESSAGE = 64 * 1024  # bytes
_MAX_PREFETCH = 100
# Seconds. A broker before 4.3 ends a consumer that has not acknowledged for 1800.
_LEASE, _MAX_LEASE = 60, 1500


class MessagesHandler(BaseHandler):
    """POST /queues/{name}/messages

    A client's `wait` is how long a queue that is full is tried again.
    """

    access = Access("queues", named=True)

    def initialize(self, context: Context) -> None:
        super().initialize(context)
        self._wait = 0.0

    def apply_preferences(self, header: str) -> None:
        self._wait = min(prefer.wait(header) or 0.0, self.context.timeout)
        if self._wait:
            self.set_sticky_header("Preference-Applied", f"wait={self._wait:g}")

    async def post(self, name: str) -> None:
        _check(self.context.queues, name)
        body = read_json_line(self.request, _MAX_MESSAGE)
        put = self.context.queues.put(name, body, self.deadline.remaining(), self._wait)
        message_id = await self.wait_for(put)
        self.set_status(202)
        write_json(self, {"queue": name, "message_id": message_id})


class ConsumerHandler(SocketHandler):
    """GET /queues/{name}/consumer?prefetch=1&lease=60, a WebSocket"""

    access = Access("queues", named=True)

    def initialize(self, context: Context) -> None:
        super().initialize(context)
        # A client may leave before its socket is open.
        self._delivering: asyncio.Task[None] | None = None
        self._lease: asyncio.TimerHandle | None = None
        self._close_with: tuple[int, str] | None = None

    async def get(self, name: str) -> None:
        _check(self.context.queues, name)
        prefetch = self._number("prefetch", 1, _MAX_PREFETCH)
        self._session = Session(self._number("lease", _LEASE, _MAX_LEASE))
        # Whoever gets no socket is to have no message delivered.
        self.check_upgrade()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self.counted_as(SUBSCRIBERS))
            stack.enter_context(self.context.gate.followers.following(self.client, self._without_key))
            consuming = self.context.queues.consume(name, prefetch, self._stop)
            try:
                self._consumer: Consumer = await self.wait_for(stack.enter_async_context(consuming))
            except TooManyConsumers as error:
                raise ProblemError(TOO_MANY_CONSUMERS) from error
            talking = asyncio.ensure_future(WebSocketHandler.get(self))
            # A client that does not answer is closed in seconds; what it holds goes back at once.
            await asyncio.wait([talking, self._ended], return_when=asyncio.FIRST_COMPLETED)
        await talking

    def open(self, *_args: str) -> None:
        if self._close_with is not None:  # it was to be closed before it was open
            self.close(*self._close_with)
            return
        self._delivering = asyncio.create_task(self._deliver())

    def on_message(self, message: str | bytes) -> None:
        try:
            command = self._session.settled(message)
        except BadCommand as error:
            self._end_with(BAD_COMMAND, str(error))
            return
        if command.acknowledges:
            self._consumer.acknowledge(command.tag)
        else:
            self._consumer.hand_back(command.tag)
        self._watch_lease()

    def on_close(self) -> None:
        if self._delivering is not None:
            self._delivering.cancel()
        if self._lease is not None:
            self._lease.cancel()

    async def _deliver(self) -> None:
        """Write what comes, until the connection is closed."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                delivery = await self._consumer.next()
                written = self.write_message(self._session.delivered(delivery, loop.time()))
                del delivery  # its share of the room
                self._watch_lease()
                await written
        except BridgeError as error:
            no_room = isinstance(error, Overloaded)
            self._end_with(TRY_AGAIN, "there is no room for a message" if no_room else "the queue was lost")
        except WebSocketClosedError:
            pass

    def _watch_lease(self) -> None:
        """Close the connection when the first of the leases is over: what is held goes back."""
        if self._lease is not None:
            self._lease.cancel()
            self._lease = None
        if self._session.due is not None:
            self._lease = asyncio.get_running_loop().call_at(self._session.due, self._over)

    def _over(self) -> None:
        self._end_with(LEASE_OVER, "a message was held for longer than its lease")

    def _stop(self) -> None:
        """The server stops."""
        self._end_with(GOING_AWAY, "the server is stopping")

    def _without_key(self) -> None:
        self._end_with(KEY_ENDED, "the key is not valid any more")

    def _end_with(self, code: int, reason: str) -> None:
        """Close the connection, and have all that is held go back."""
        if not self._ended.done():
            self._ended.set_result(None)
        self._close_with = self._close_with or (code, reason)
        self.close(*self._close_with)

    def _number(self, name: str, default: int, largest: int) -> int:
        text = self.get_query_argument(name, str(default))
        if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= largest):
            raise HTTPError(400, f"{name}: an integer from 1 to {largest} is expected.")
        return int(text)


def _check(queues: Queues, name: str) -> None:
    """Raises HTTPError 404 where there is none of that name."""
    if name not in queues:
        raise HTTPError(404, "There is no queue of that name.")


def routes(context: Context) -> list[Any]:
    """The routes of this module."""
    options = {"context": context}
    return [
        (rf"/queues/{_NAME}/messages", MessagesHandler, options),
        (rf"/queues/{_NAME}/consumer", ConsumerHandler, options),
    ]


def operations(offer: Offer) -> list[Operation]:
    """What they answer."""
    names = sorted(offer.queues)
    name = path("name", {"type": "string", "enum": names} if names else TEXT, "of a queue")

    def number(name: str, default: int, largest: int, what: str) -> Parameter:
        return Parameter(name, {"type": "integer", "minimum": 1, "maximum": largest, "default": default}, what)

    return [
        Operation(
            id="put_message",
            method="POST",
            path="/queues/{name}/messages",
            group="queues",
            summary="a message for one consumer",
            scope="queues.write:NAME",
            parameters=[name, PREFER_ROOM],
            body={},
            answers=[json("the broker has it", members({"queue": TEXT, "message_id": TEXT}), 202)],
            problems=(400, 404, *MESSAGE),
            description=f"Any JSON value, of up to {_MAX_MESSAGE} bytes; 503 when the queue is full.",
        ),
        Operation(
            id="consume",
            method="GET",
            path="/queues/{name}/consumer",
            group="queues",
            summary="a WebSocket: messages, and their acknowledgements",
            scope="queues.read:NAME",
            parameters=[
                name,
                number("prefetch", 1, _MAX_PREFETCH, "messages that may be unacknowledged"),
                number("lease", _LEASE, _MAX_LEASE, "seconds that a message may be held"),
            ],
            answers=[Answer("the connection is a WebSocket from here on", status=101)],
            problems=(400, 403, 404, 426, *MESSAGE),
        ),
    ]
