"""Opens connections to the broker with kombu, in a thread.

kombu connects, so URLs, TLS and login work as they do everywhere in Celery; but every call of it
may block. Once a connection is open and its one channel is set up, the loop takes the socket over.
"""

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

import amqp
import kombu
from celery import Celery
from kombu.utils.url import parse_url

from nowait.tls import verify_hostname

CHANNEL = 1
_HEARTBEAT = 4  # seconds between heartbeats that is requested; a silence of twice that is the end
_TIMEOUT = 2.0  # seconds, for each step of connecting
# Seconds for the channel, the queue and the confirms: less than the pause between two heartbeats of the broker, a half
# of _HEARTBEAT. Each of those begins the time anew.
_SET_UP_TIMEOUT = 1.0
_REPLY_QUEUE_EXPIRES = 300_000  # milliseconds without a consumer, after which the broker deletes it


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


@dataclass(frozen=True)
class Opened:
    """What a link is made of."""

    consumer: OpenSocket
    publisher: OpenSocket  # with publisher confirms
    reply_queue: str  # to consume


class Opener:
    """Opens pairs of connections, each pair to the next of the application's broker URLs.

    The reply queue is durable, and is kept for minutes without a consumer: replies outlive a lost connection.

    Args:
        app: its broker settings are used.
        reply_queue: the name of the reply queue.
        exchange: an exchange that replies come through, by the queue's name; "" for the default one.

    Raises ValueError for a broker URL that cannot be read: it would be found when its turn comes, with one
    connection at the next URL and the other one not.
    """

    def __init__(self, app: Celery, reply_queue: str, exchange: str) -> None:
        self._name = self._reply_queue = reply_queue
        self._exchange = exchange
        self._consumer = app.connection_for_read(heartbeat=_HEARTBEAT, connect_timeout=_TIMEOUT)
        self._publisher = app.connection_for_write(heartbeat=_HEARTBEAT, connect_timeout=_TIMEOUT)
        for url in (*self._consumer.alt, *self._publisher.alt):
            parse_url(url)

    def open(self) -> Opened:
        """Connect. Blocks: to be called in a thread. Raises ConnectionLost; the next try goes to the next URL."""
        consumer = None
        try:
            consumer = _open(self._consumer, self._declare)
            publisher = _open(self._publisher, amqp.Channel.confirm_select)
        except ConnectionLost:
            if consumer is not None:
                consumer.sock.close()
            self._consumer.maybe_switch_next()
            self._publisher.maybe_switch_next()
            raise
        return Opened(consumer, publisher, self._reply_queue)

    def _declare(self, channel: amqp.Channel) -> None:
        try:
            channel.queue_declare(
                self._reply_queue, durable=True, auto_delete=False, arguments={"x-expires": _REPLY_QUEUE_EXPIRES}
            )
        except (amqp.exceptions.ChannelError, TimeoutError):
            # In a cluster, the queue may be on a node that is down, and its name with it: RabbitMQ 3 refuses to declare
            # it, RabbitMQ 4 does not answer until the node is back.
            self._reply_queue = f"{self._name}.{uuid4().hex[:8]}"
            raise
        if self._exchange:
            channel.queue_bind(self._reply_queue, self._exchange, routing_key=self._reply_queue)


def _open(source: kombu.Connection, set_up: Callable[[amqp.Channel], None]) -> OpenSocket:
    """Connect, log in, open a channel and set it up. Raises ConnectionLost; `source` stays usable."""
    connection: amqp.Connection | None = None
    try:
        transport = source.transport
        verify_hostname(source)
        connection = transport.establish_connection()
        stream = connection.transport
        stream.sock.settimeout(_SET_UP_TIMEOUT)
        set_up(connection.channel(CHANNEL))
        sock = stream.sock
        # py-amqp closes its socket when it is garbage collected: this one is ours now.
        stream.sock = None
        return OpenSocket(sock, connection.frame_max, connection.heartbeat or 0)
    except Exception as error:
        # kombu and py-amqp raise a dozen unrelated types here, from OSError to their own trees.
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.collect()
        raise ConnectionLost(f"{source.as_uri()}: {type(error).__name__}: {error}") from error
