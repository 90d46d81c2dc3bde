"""One AMQP connection: opened by kombu in a thread, then owned by the event loop.

kombu connects, so URLs, TLS and login work as they do everywhere in Celery; but every call of it
may block. Once the connection is open and its one channel is set up, the loop takes the socket
over and speaks the few methods that are needed from then on itself.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass

import amqp
import kombu

from nowait.amqp import protocol
from nowait.bridge.stream import Stream
from nowait.tls import verify_hostname

CHANNEL = 1
HEARTBEAT = 4  # seconds between heartbeats that is asked for; a silence of twice that is the end
_MAX_REPLY = 32 * 1024 * 1024  # bytes; larger ones are not kept


class ConnectionLost(Exception):
    """The connection ended, or could not be opened; the text says why.

    Attributes:
        refused: True when the broker ended it because of something that was sent.
    """

    def __init__(self, reason: str, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused


@dataclass(frozen=True)
class Opened:
    """An open connection with one open channel, CHANNEL, and nothing under way on it.

    Attributes:
        sock: its socket, plain or TLS.
        frame_max: the largest frame, in bytes; 0 for no limit.
        heartbeat: seconds; 0 for none.
    """

    sock: socket.socket
    frame_max: int
    heartbeat: float


def open_connection(source: kombu.Connection, set_up: Callable[[amqp.Channel], None], timeout: float) -> Opened:
    """Connect, log in, open a channel and set it up. Blocks: to be called in a thread.

    Args:
        source: where to connect; stays usable for the next try.
        set_up: gets the channel while calls on it still block.
        timeout: seconds that each step may take.

    Raises ConnectionLost.
    """
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
        return Opened(sock, connection.frame_max, connection.heartbeat or 0)
    except Exception as error:
        # kombu and py-amqp raise a dozen unrelated types here, from OSError to their own trees.
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.collect()
        raise ConnectionLost(f"{source.as_uri()}: {type(error).__name__}: {error}") from error


class Connection:
    """An open connection on the running loop.

    Args:
        opened: what open_connection returned.
        on_event: called with each event.
        on_lost: called once, with the reason, when the connection ends without close().

    Attributes:
        frame_max: the largest frame, in bytes; 0 for no limit.
        heard: when the broker last sent anything, by the loop's clock.
        blocked: why the broker takes no messages at the moment; None when it does.
        flows_since: since when it takes them, by the loop's clock.
    """

    def __init__(
        self,
        opened: Opened,
        on_event: Callable[[protocol.Event], None],
        on_lost: Callable[[ConnectionLost], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_event = on_event
        self._on_lost = on_lost
        self._decoder = protocol.Decoder(opened.frame_max, _MAX_REPLY)
        self._stream = Stream(opened.sock, self._data, self._stream_lost)
        self.frame_max = opened.frame_max
        self._heartbeat = opened.heartbeat
        self.heard = self._loop.time()
        self.blocked: str | None = None
        self.flows_since = self.heard
        self._spoke = False
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._beat: asyncio.TimerHandle | None = None
        if self._heartbeat:
            self._beat = self._loop.call_later(self._heartbeat / 2, self._check_heartbeat)

    def write(self, frames: bytes) -> None:
        """Send frames, coalesced with all others of this tick of the loop."""
        self._spoke = True
        self._stream.write(frames)

    async def close(self, timeout: float) -> None:
        """Say goodbye, so that all that was written is surely read, and close.

        Args:
            timeout: seconds to wait for the broker's answer; 0 closes at once.
        """
        if not self._closed.done() and timeout > 0:
            self.write(protocol.close())
            await asyncio.wait([self._closed], timeout=timeout)
        self._end()

    def _end(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
        self._stream.close()
        if not self._closed.done():
            self._closed.set_result(None)

    def _lose(self, reason: str, refused: bool = False) -> None:
        if not self._closed.done():
            self._end()
            self._on_lost(ConnectionLost(reason, refused))

    def _data(self, data: bytes) -> None:
        self.heard = self._loop.time()
        try:
            for event in self._decoder.feed(data):
                if isinstance(event, protocol.Closed):
                    self._lose(f"closed by the broker: {event.code} {event.reason}", event.channel)
                    return
                if isinstance(event, protocol.CloseOk):
                    self._end()
                    return
                if isinstance(event, protocol.Blocked):
                    self.blocked = event.reason
                elif isinstance(event, protocol.Unblocked):
                    self.blocked = None
                    self.flows_since = self.heard
                self._on_event(event)
        except protocol.ProtocolError as error:
            self._lose(f"not AMQP: {error}")

    def _stream_lost(self, error: Exception) -> None:
        self._lose(str(error) or type(error).__name__)

    def _check_heartbeat(self) -> None:
        # A connection that is blocked is not read any more, and its heartbeats stop.
        if self.blocked is None and self._loop.time() - self.heard > 2 * self._heartbeat:
            self._lose(f"nothing heard for {2 * self._heartbeat:g} s")
            return
        if not self._spoke:
            self._stream.write(protocol.HEARTBEAT)
        self._spoke = False
        self._beat = self._loop.call_later(self._heartbeat / 2, self._check_heartbeat)
