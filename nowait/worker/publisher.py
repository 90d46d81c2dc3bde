"""Confirmed channels to the broker, for whatever threads, greenlets or processes need one."""

import contextlib
import os
import threading
import time
from typing import Any

import amqp
from amqp import spec
from celery import Celery

_CONNECT_TIMEOUT = 4.0  # seconds
_WRITE_TIMEOUT = 30.0  # seconds
LIMIT = 8  # channels of one process
_PAUSE = 0.2  # seconds from a failed try to the next


class Undelivered(Exception):
    """A message was not confirmed in time, or was refused; the text says why."""


class Channels:
    """Channels, each on a connection of its own, and used by one at a time.

    There are as many as were ever needed at once, at most LIMIT: a message takes milliseconds, so
    that hundreds of threads share a few. A process that was forked makes its own.

    Args:
        app: its broker is used.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._idle: list[amqp.Channel] = []
        self._free = threading.Semaphore(LIMIT)
        self._pid = os.getpid()

    def publish(self, message: amqp.Message, exchange: str, routing_key: str, timeout: float) -> None:
        """Publish a message, and return once the broker has it.

        Args:
            message: what to send.
            exchange: where to; "" for the default one.
            routing_key: with the default exchange, the queue's name.
            timeout: seconds, over all tries; a lost connection is replaced within them.

        Raises Undelivered. A message that was published and not confirmed may be there twice.
        """
        deadline = time.monotonic() + timeout
        self._leave_parent()
        if not self._free.acquire(timeout=timeout):
            raise Undelivered("all channels were busy")
        try:
            self._publish(message, exchange, routing_key, deadline)
        finally:
            self._free.release()

    def _publish(self, message: amqp.Message, exchange: str, routing_key: str, deadline: float) -> None:
        while True:
            channel: amqp.Channel | None = None
            try:
                channel = self._take()
                acked = _publish(channel, message, exchange, routing_key, max(0.001, deadline - time.monotonic()))
            except amqp.AccessRefused as error:
                _drop(channel)
                raise Undelivered(str(error)) from error
            except Exception as error:
                # py-amqp and the socket raise a dozen unrelated types. The channel is of no use any
                # more: a confirm that comes late would be taken for the next message's.
                _drop(channel)
                if time.monotonic() + _PAUSE > deadline:
                    raise Undelivered(f"{type(error).__name__}: {error}") from error
                time.sleep(_PAUSE)
            else:
                self._idle.append(channel)
                if not acked:
                    raise Undelivered("the broker refused it")
                return

    def _take(self) -> amqp.Channel:
        """An idle channel, or a new one."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._open()

    def _leave_parent(self) -> None:
        """After a fork, have no channel of the parent's."""
        if self._pid != os.getpid():
            inherited, self._idle, self._pid = self._idle, [], os.getpid()
            self._free = threading.Semaphore(LIMIT)
            for channel in inherited:
                _forget(channel)

    def _open(self) -> amqp.Channel:
        connection: Any = self._app.connection_for_write(
            connect_timeout=_CONNECT_TIMEOUT, heartbeat=0, transport_options={"write_timeout": _WRITE_TIMEOUT}
        )
        connection.ensure_connection(max_retries=1)
        channel: amqp.Channel = connection.connection.channel()
        channel.confirm_select()
        return channel


def _publish(
    channel: amqp.Channel, message: amqp.Message, exchange: str, routing_key: str, timeout: float
) -> bool:
    """Publish and wait for the confirm. Returns False for a nack."""
    answers: list[Any] = []
    # As basic_publish, but for its look at what came meanwhile: wait() looks anyway.
    channel.send_method(spec.Basic.Publish, "Bssbb", (0, exchange, routing_key, False, False), message)
    channel.wait([spec.Basic.Ack, spec.Basic.Nack], callback=lambda method, *_: answers.append(method), timeout=timeout)
    return answers == [spec.Basic.Ack]


def _drop(channel: amqp.Channel | None) -> None:
    """Close a channel's connection without a word to the broker, which may not listen."""
    with contextlib.suppress(Exception):
        if channel is not None:
            channel.connection.collect()


def _forget(channel: amqp.Channel) -> None:
    """Close this process's copy of a socket that is still another's, and nothing more."""
    transport = channel.connection.transport
    sock, transport.sock = transport.sock, None
    sock.close()
