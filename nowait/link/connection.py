"""An open AMQP connection on the event loop: bytes in, events out; heartbeats, blocking, closing."""

import asyncio
from collections.abc import Callable

from nowait.amqp import methods
from nowait.amqp.frames import HEARTBEAT, ProtocolError
from nowait.budget import Budget
from nowait.link.opener import CHANNEL, ConnectionLost, OpenSocket
from nowait.link.stream import Stream


class Connection:
    """An open connection on the running loop.

    Args:
        opened: its socket.
        on_event: called with each event.
        on_lost: called once, with the reason, when the connection ends without close().
        budget: of the bodies of deliveries, see nowait.amqp.methods.Decoder.

    Attributes:
        frame_max: the largest frame, in bytes; 0 for no limit.
        channel_max: the largest number of a channel.
        last_received: when anything arrived last, by the loop's clock.
        blocked: why the broker takes no messages at the moment; None when it does.
        unblocked_at: since when it takes them, by the loop's clock.
    """

    def __init__(
        self,
        opened: OpenSocket,
        on_event: Callable[[methods.Event], None],
        on_lost: Callable[[ConnectionLost], None],
        budget: Budget,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_event = on_event
        self._on_lost = on_lost
        self._decoder = methods.Decoder(opened.frame_max, budget)
        self._stream = Stream(opened.sock, self._data, lambda error: self.lose(str(error) or type(error).__name__))
        self.frame_max = opened.frame_max
        self.channel_max = opened.channel_max
        self._heartbeat = opened.heartbeat
        self.last_received = self._loop.time()
        self.blocked: str | None = None
        self.unblocked_at = self.last_received
        self._sent_since_heartbeat = False
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._heartbeat_timer: asyncio.TimerHandle | None = None
        if self._heartbeat:
            self._heartbeat_timer = self._loop.call_later(self._heartbeat / 2, self._check_heartbeat)

    @property
    def open(self) -> bool:
        """It has not ended."""
        return not self._closed.done()

    def write(self, frames: bytes) -> None:
        """Send frames, coalesced with all others of this tick of the loop."""
        self._sent_since_heartbeat = True
        self._stream.write(frames)

    async def close(self, timeout: float) -> None:
        """Close after the broker's close-ok, by which it has read all that was written.

        Args:
            timeout: seconds to wait for it; 0 closes at once.
        """
        try:
            if self.open and timeout > 0:
                self.write(methods.close())
                await asyncio.wait([self._closed], timeout=timeout)
        finally:  # cancelled, too
            self._end()

    def lose(self, reason: str, refused: bool = False) -> None:
        """Give it up, unless it has ended: on_lost is called; `refused` is as in ConnectionLost."""
        if self.open:
            self._end()
            self._on_lost(ConnectionLost(reason, refused))

    def _end(self) -> None:
        if self._heartbeat_timer is not None:
            self._heartbeat_timer.cancel()
        self._stream.close()
        self._decoder.clear()
        if self.open:
            self._closed.set_result(None)

    def _data(self, data: bytes) -> None:
        self.last_received = self._loop.time()
        try:
            for event in self._decoder.feed(data):
                if isinstance(event, methods.Closed) and event.channel in (0, CHANNEL):
                    self.lose(f"closed by the broker: {event.code} {event.reason}", event.refused)
                    return
                if isinstance(event, methods.CloseOk):
                    self._end()
                    return
                if isinstance(event, methods.Blocked):
                    self.blocked = event.reason
                    self._stream.be_patient(True)
                elif isinstance(event, methods.Unblocked):
                    self.blocked = None
                    self._stream.be_patient(False)
                    self.unblocked_at = self.last_received
                else:
                    self._on_event(event)
        except ProtocolError as error:
            self.lose(f"not AMQP: {error}")

    def _check_heartbeat(self) -> None:
        # A connection that is blocked is not read any more, and its heartbeats stop.
        if self.blocked is None and self._loop.time() - self.last_received > 2 * self._heartbeat:
            self.lose(f"nothing received for {2 * self._heartbeat:g} s")
            return
        if not self._sent_since_heartbeat:
            self._stream.write(HEARTBEAT)
        self._sent_since_heartbeat = False
        self._heartbeat_timer = self._loop.call_later(self._heartbeat / 2, self._check_heartbeat)
