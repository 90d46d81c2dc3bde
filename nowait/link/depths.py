"""How much waits in the broker's queues, and who takes it: by passive declares, on a connection of its own.

A passive declare of a queue that is not there ends its channel, and one at a broker that does not answer takes its
time: neither must happen to the connections of a link. From RabbitMQ 4.3.1 on, the user needs any right to the queue.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import amqp
import kombu

from nowait.link.opener import SET_UP_TIMEOUT, TIMEOUT
from nowait.tls import verify_hostname

log = logging.getLogger(__name__)

_INTERVAL = 1.0  # seconds between two readings
# Each look at a queue that is not there is an error in the broker's log: it is left out of more and more readings.
_MOST_LEFT_OUT = 15


@dataclass(frozen=True)
class Depth:
    """One queue.

    Attributes:
        waiting: messages that no consumer has yet; those that workers hold are not among them.
        consumers: how many take them.
    """

    waiting: int
    consumers: int


class Depths:
    """Reads the depths of queues once a second, for as long as run() does.

    Args:
        broker_url: as `NOWAIT_BROKER_URL`; of several, the next is tried when one does not answer.
        names: gives the names of the queues, for each reading.
        interval: seconds between two readings.

    Attributes:
        latest: by name, as they were read last; None for a queue that is not there, or must not be looked at, which is
            tried again after a while. None for all of them while the broker does not answer, or nothing was read yet.
    """

    def __init__(self, broker_url: str, names: Callable[[], Iterable[str]], interval: float = _INTERVAL) -> None:
        self._reader = _Reader(broker_url)
        self._names = names
        self._interval = interval
        # What kombu does blocks.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="depths")
        self.latest: Mapping[str, Depth | None] | None = None

    async def run(self) -> None:
        """Read until cancelled; the connection is closed then. May be called again afterwards."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    self.latest = await loop.run_in_executor(self._thread, self._reader.read, sorted(self._names()))
                except Exception as error:
                    # kombu and py-amqp raise a dozen unrelated types here, from OSError to their own trees.
                    if self.latest is not None:
                        log.warning("the depths of the queues cannot be read: %s: %s", type(error).__name__, error)
                    self.latest = None
                await asyncio.sleep(self._interval)
        finally:
            self.latest = None
            with contextlib.suppress(RuntimeError):  # closed meanwhile; the process is about to end
                self._thread.submit(self._reader.close)

    async def close(self) -> None:
        """End the thread, once what it waits for has come or taken too long; that is not waited for."""
        self._thread.shutdown(wait=False)


@dataclass
class _Missing:
    """A queue that could not be looked at.

    Attributes:
        pause: readings without it, since it was tried last.
        left: as many of them are to come.
    """

    pause: int
    left: int


class _Reader:
    """The connection; everything here blocks."""

    def __init__(self, broker_url: str) -> None:
        # Each reading shows whether the broker is there: without heartbeats.
        self._source = kombu.Connection(broker_url, heartbeat=0, connect_timeout=TIMEOUT)
        self._connection: amqp.Connection | None = None
        self._channel: amqp.Channel | None = None
        self._missing: dict[str, _Missing] = {}

    def read(self, names: Iterable[str]) -> dict[str, Depth | None]:
        """The depths, None for a queue that cannot be looked at. Raises what kombu and py-amqp raise."""
        try:
            return {name: self._look(name) for name in names}
        except Exception:
            self.close()
            self._source.maybe_switch_next()
            raise

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()
            with contextlib.suppress(Exception):
                connection.collect()

    def _look(self, name: str) -> Depth | None:
        missing = self._missing.get(name)
        if missing is not None and missing.left > 0:
            missing.left -= 1
            return None
        if self._connection is None:
            verify_hostname(self._source)
            self._connection = self._source.transport.establish_connection()
            self._connection.transport.sock.settimeout(SET_UP_TIMEOUT)
        if self._channel is None:
            self._channel = self._connection.channel()
        try:
            found: Any = self._channel.queue_declare(name, passive=True)
        except (amqp.NotFound, amqp.AccessRefused, amqp.ResourceLocked):
            self._channel = None  # the broker has closed it
            pause = 1 if missing is None else min(2 * missing.pause, _MOST_LEFT_OUT)
            self._missing[name] = _Missing(pause, pause)
            return None
        self._missing.pop(name, None)
        return Depth(found.message_count, found.consumer_count)
