"""Opens connections to the broker with kombu, in a thread.

kombu connects, so URLs, TLS and login work as they do everywhere in Celery; but every call of it
may block. Once a connection is open and its one channel is set up, the loop takes the socket over.
"""

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import amqp
import kombu
from kombu.utils.url import parse_url

from nowait.tls import verify_hostname

CHANNEL = 1
STREAMS = 2  # another channel of the consumer's, see nowait.bridge.streams; it is opened when it is needed
HEARTBEAT = 4  # seconds between heartbeats, where nobody asks for another pause; a silence of twice that is the end
TIMEOUT = 2.0  # seconds, for each step of connecting
# Seconds for the channel, its queues and the confirms, each: less than the pause between two heartbeats of the broker,
# a half of HEARTBEAT. Each of those begins the time anew.
SET_UP_TIMEOUT = 1.0


class ConnectionLost(Exception):
    """The connection ended, or could not be opened; its text is the reason.

    Attributes:
        refused: True when the broker ended it because of something that was sent.
    """

    def __init__(self, reason: str, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused


@dataclass(frozen=True)
class OpenSocket:
    """The socket of an open connection with one open channel, CHANNEL, and nothing under way on it."""

    sock: socket.socket  # plain or TLS
    frame_max: int  # bytes of the largest frame; 0 for no limit
    heartbeat: float  # seconds; 0 for none
    channel_max: int  # the largest number of a channel

    def close(self) -> None:
        """Close it."""
        self.sock.close()


@dataclass(frozen=True)
class Opened:
    """What a link is made of."""

    consumer: OpenSocket
    publisher: OpenSocket  # with publisher confirms

    def close(self) -> None:
        """Close both."""
        self.consumer.close()
        self.publisher.close()


class Opener:
    """Opens pairs of connections, each pair to the next of the broker's URLs.

    Args:
        consumer, publisher: how to connect: as `Celery.connection_for_read` and `connection_for_write` make them.
        set_up: prepares the one channel of the consumer, with kombu's or py-amqp's methods: its queues, its prefetch.
        timeout: seconds that the broker may take for each answer meanwhile.

    Raises ValueError for a broker URL that cannot be read: it would be found when its turn comes, with one
    connection at the next URL and the other one not.
    """

    def __init__(
        self,
        consumer: kombu.Connection,
        publisher: kombu.Connection,
        set_up: Callable[[Any], None],
        timeout: float = SET_UP_TIMEOUT,
    ) -> None:
        self._consumer = consumer
        self._publisher = publisher
        self._set_up = set_up
        self._timeout = timeout
        for url in (*consumer.alt, *publisher.alt):
            parse_url(url)

    def open(self) -> Opened:
        """Connect. Blocks: to be called in a thread. Raises ConnectionLost; the next try goes to the next URL."""
        consumer = None
        try:
            consumer = _open(self._consumer, self._set_up, self._timeout)
            publisher = _open(self._publisher, amqp.Channel.confirm_select, self._timeout)
        except ConnectionLost:
            if consumer is not None:
                consumer.close()
            self._consumer.maybe_switch_next()
            self._publisher.maybe_switch_next()
            raise
        return Opened(consumer, publisher)


class SingleOpener:
    """Opens connections, one at a time, each to the next of the broker's URLs where one fails.

    Args:
        connection: how to connect: as `Celery.connection_for_read` makes it.
        timeout: as for Opener.
    """

    def __init__(self, connection: kombu.Connection, timeout: float = SET_UP_TIMEOUT) -> None:
        self._connection = connection
        self._timeout = timeout

    def open(self) -> OpenSocket:
        """Connect. Blocks: to be called in a thread. Raises ConnectionLost; the next try goes to the next URL."""
        return self._opened(_nothing)

    def do(self, act: Callable[[Any], None]) -> None:
        """Connect, do something on a channel with kombu's or py-amqp's methods, and close. Blocks; raises as open()."""
        self._opened(act).close()

    def _opened(self, set_up: Callable[[Any], None]) -> OpenSocket:
        try:
            return _open(self._connection, set_up, self._timeout)
        except ConnectionLost:
            self._connection.maybe_switch_next()
            raise


def _nothing(_channel: Any) -> None: ...


def _open(source: kombu.Connection, set_up: Callable[[amqp.Channel], None], timeout: float) -> OpenSocket:
    """Connect, log in, open a channel and set it up. Raises ConnectionLost; `source` stays usable."""
    connection: amqp.Connection | None = None
    try:
        transport = source.transport
        verify_hostname(source)
        connection = transport.establish_connection()
        stream = connection.transport
        stream.sock.settimeout(timeout)
        set_up(connection.channel(CHANNEL))
        sock = stream.sock
        # py-amqp closes its socket when it is garbage collected: this one is ours now.
        stream.sock = None
        found = OpenSocket(sock, connection.frame_max, connection.heartbeat or 0, connection.channel_max or 0)
        _forget(connection)
        return found
    except Exception as error:
        # kombu and py-amqp raise a dozen unrelated types here, from OSError to their own trees.
        if connection is not None:
            with contextlib.suppress(Exception):
                _forget(connection)
        raise ConnectionLost(f"{source.as_uri()}: {type(error).__name__}: {error}") from error


def _forget(connection: Any) -> None:
    """Close what is left of it, and have nothing of it wait for the garbage collector: it has a buffer of a frame."""
    connection.collect()
    connection.frame_writer = connection.on_inbound_frame = None
