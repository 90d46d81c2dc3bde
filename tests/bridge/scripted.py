"""A broker that does what a test says, when it says: the other ends of a bridge's two sockets.

What it sends is encoded by py-amqp, and what it receives is decoded by it: another oracle than the code under test.
"""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from amqp import Message
from amqp.serialization import dumps
from celery import Celery

from nowait.bridge import Bridge
from nowait.link.opener import ConnectionLost, Opened, OpenSocket
from tests.bridge.conftest import until

_FRAME_MAX = 131072


@dataclass
class Published:
    """A message that the bridge published: its tag, where to, its properties, its body."""

    tag: int
    routing_key: str
    properties: dict[str, Any]
    body: bytes

    @property
    def id(self) -> str:
        return str(self.properties["correlation_id"])


class Session:
    """One link of the bridge, seen from the broker.

    Attributes:
        published: all messages, probes included.
        acknowledged: tag and multiple of each acknowledgement.
    """

    def __init__(self, probes: bool) -> None:
        consumer, self._to_consumer = socket.socketpair()
        publisher, self._to_publisher = socket.socketpair()
        self.opened = Opened(OpenSocket(consumer, _FRAME_MAX, 0, 2047), OpenSocket(publisher, _FRAME_MAX, 0, 2047))
        self.published: list[Published] = []
        self.acknowledged: list[tuple[int, bool]] = []
        self._returns_probes = probes
        self._probe: Published | None = None
        self._delivered = 0
        for sock, received in ((self._to_consumer, self._consuming), (self._to_publisher, self._publishing)):
            sock.setblocking(False)
            asyncio.get_running_loop().add_reader(sock, self._readable, sock, bytearray(), received)

    @property
    def tasks(self) -> list[Published]:
        """The messages of tasks."""
        return [message for message in self.published if not _to_replies(message.routing_key)]

    def confirm(self, tag: int, multiple: bool = False) -> None:
        self._to_publisher.send(_method(60, 80, "Lb", tag, multiple))

    def nack(self, tag: int) -> None:
        self._to_publisher.send(_method(60, 120, "Lbb", tag, False, False))

    def return_unroutable(self, message: Published) -> None:
        content = _content(b"", correlation_id=message.id)
        self._to_publisher.send(_method(60, 50, "Bsss", 312, "NO_ROUTE", "", message.routing_key) + content)

    def deliver(self, correlation_id: str, body: bytes, **properties: Any) -> None:
        self._delivered += 1
        content = _content(body, correlation_id=correlation_id, content_type="application/json", **properties)
        self._to_consumer.send(_method(60, 60, "sLbss", "consumer", self._delivered, False, "", "replies") + content)

    def reply(self, message: Published, result: Any, status: str = "SUCCESS", **properties: Any) -> None:
        self.deliver(message.id, json.dumps({"status": status, "result": result}).encode(), **properties)

    def return_probe(self, session: "Session | None" = None) -> None:
        """Deliver the last probe of this session, or of an earlier one."""
        probe = (session or self)._probe
        assert probe is not None
        self.deliver(probe.id, b"")

    def close_connection(self, code: int = 320, reason: str = "CONNECTION_FORCED") -> None:
        self._to_publisher.send(_method(10, 50, "BsBB", code, reason, 0, 0))

    def block(self, reason: str = "low on memory") -> None:
        self._to_publisher.send(_method(10, 60, "s", reason))

    def unblock(self) -> None:
        self._to_publisher.send(_method(10, 61))

    def hang_up(self) -> None:
        for sock in (self._to_consumer, self._to_publisher):
            if sock.fileno() >= 0:
                asyncio.get_running_loop().remove_reader(sock)
                sock.close()

    def _readable(self, sock: socket.socket, buffer: bytearray, received: Any) -> None:
        try:
            data = sock.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(sock)
            return
        buffer += data
        while len(buffer) >= 7:
            kind, _channel, size = struct.unpack_from(">BHI", buffer)
            if len(buffer) < size + 8:
                return
            received(kind, bytes(buffer[7 : 7 + size]))
            del buffer[: size + 8]

    def _consuming(self, kind: int, payload: bytes) -> None:
        if payload[:4] == struct.pack(">HH", 60, 80):
            tag, multiple = struct.unpack_from(">QB", payload, 4)
            self.acknowledged.append((tag, bool(multiple)))
        elif payload[:4] == struct.pack(">HH", 10, 50):
            self._to_consumer.send(_method(10, 51))

    def _publishing(self, kind: int, payload: bytes) -> None:
        if kind == 1 and payload[:4] == struct.pack(">HH", 60, 40):
            exchange_end = 7 + payload[6]
            key = payload[exchange_end + 1 : exchange_end + 1 + payload[exchange_end]].decode()
            self.published.append(Published(len(self.published) + 1, key, {}, b""))
        elif kind == 1 and payload[:4] == struct.pack(">HH", 10, 50):
            self._to_publisher.send(_method(10, 51))
        elif kind == 2:
            message = Message()
            message._load_properties(60, payload, 12)
            self.published[-1].properties = dict(message.properties)
            if _to_replies(self.published[-1].routing_key):
                self._probe = self.published[-1]
                if self._returns_probes:
                    self.confirm(self._probe.tag)
                    self.return_probe()
        elif kind == 3:
            self.published[-1].body += payload


class ScriptedBroker:
    """Where a bridge connects to.

    Args:
        probes: True to return each probe at once; False leaves that to the test.

    Attributes:
        sessions: the links so far.
        down: True to refuse connections.
        failure: an exception that the next attempts to connect raise; None for none.
    """

    def __init__(self, probes: bool = True) -> None:
        self.sessions: list[Session] = []
        self.down = False
        self.failure: Exception | None = None
        self._probes = probes
        self._loop = asyncio.get_running_loop()

    @property
    def session(self) -> Session:
        """The current link."""
        return self.sessions[-1]

    def open(self) -> Opened:
        """Called by the bridge, in its thread."""
        if self.failure is not None:
            raise self.failure
        if self.down:
            raise ConnectionLost("the broker is down")
        return asyncio.run_coroutine_threadsafe(self._accept(), self._loop).result(5)

    async def _accept(self) -> Opened:
        self.sessions.append(Session(self._probes))
        return self.session.opened


class SharedEnd:
    """Where a connection that is shared connects to: the other end of the socket that it has now.

    Attributes:
        opens: how often it has connected.
        failure: an exception that the next attempts to connect raise; None for none.
        leaves: it closes each connection as soon as that is open.
        channel_max: the largest number of a channel.
        methods: those that have come, as channel, class and method.
    """

    def __init__(self) -> None:
        self.opens = 0
        self.failure: ConnectionLost | None = None
        self.leaves = False
        self.channel_max = 2047
        self.methods: list[tuple[int, int, int]] = []
        self._sock: socket.socket | None = None
        self._buffer = bytearray()

    def open(self) -> OpenSocket:
        """Called in a thread."""
        self.opens += 1
        if self.failure is not None:
            raise self.failure
        own, self._sock = socket.socketpair()
        self._sock.setblocking(False)
        if self.leaves:
            self.hang_up()
        return OpenSocket(own, _FRAME_MAX, 0, self.channel_max)

    async def arrived(self, channel: int, class_id: int, method_id: int, count: int = 1) -> None:
        """Return once that method has come so often."""

        def read() -> bool:
            with contextlib.suppress(BlockingIOError):
                self._buffer += self._sock.recv(1 << 20) if self._sock is not None else b""
            while len(self._buffer) >= 7:
                kind, at, size = struct.unpack_from(">BHI", self._buffer)
                if kind == 1:
                    self.methods.append((at, *struct.unpack_from(">HH", self._buffer, 7)))
                del self._buffer[: size + 8]
            return self.methods.count((channel, class_id, method_id)) >= count

        await until(read)

    async def published(self, channel: int, count: int = 1) -> None:
        """Return once so many messages have come on a channel."""
        await self.arrived(channel, 60, 40, count)

    def confirm(self, channel: int, tag: int, acked: bool = True, multiple: bool = False) -> None:
        flags = [multiple] if acked else [multiple, False]
        self.send(_method(60, 80 if acked else 120, "Lb" if acked else "Lbb", tag, *flags, channel=channel))

    def return_unroutable(self, channel: int, message_id: str) -> None:
        returned = _method(60, 50, "Bsss", 312, "NO_ROUTE", "", "x", channel=channel)
        self.send(returned + _content(b"", channel, correlation_id=message_id))

    def close_channel(self, channel: int, code: int, reason: str) -> None:
        self.send(_method(20, 40, "BsBB", code, reason, 60, 40, channel=channel))

    def send(self, frames: bytes) -> None:
        assert self._sock is not None
        self._sock.send(frames)

    def hang_up(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None


@asynccontextmanager
async def scripted(probes: bool = True, **options: Any) -> AsyncIterator[tuple[Bridge, ScriptedBroker]]:
    """A bridge that is connected to a scripted broker."""
    broker = ScriptedBroker(probes)
    bridge = Bridge(Celery("server", broker="memory://", set_as_current=False), source=broker, **options)
    await bridge.start()
    try:
        await until(lambda: bridge.state == "connected")
        yield bridge, broker
    finally:
        await bridge.stop(drain=0)
        for session in broker.sessions:
            session.hang_up()


def _to_replies(routing_key: str) -> bool:
    return routing_key.startswith("nowait.replies.")


def _method(class_id: int, method_id: int, formats: str = "", *values: Any, channel: int = 1) -> bytes:
    payload = struct.pack(">HH", class_id, method_id) + bytes(dumps(formats, values))
    return struct.pack(">BHI", 1, channel, len(payload)) + payload + b"\xce"


def _content(body: bytes, channel: int = 1, **properties: Any) -> bytes:
    header = struct.pack(">HHQ", 60, 0, len(body)) + Message(b"", **properties)._serialize_properties()
    frames = struct.pack(">BHI", 2, channel, len(header)) + header + b"\xce"
    for at in range(0, len(body), _FRAME_MAX - 8):
        part = body[at : at + _FRAME_MAX - 8]
        frames += struct.pack(">BHI", 3, channel, len(part)) + part + b"\xce"
    return frames
