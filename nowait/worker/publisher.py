"""Messages to the broker that it confirms, from whatever threads, greenlets or processes have one to send."""

import contextlib
import os
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

import amqp
from amqp import spec
from celery import Celery

from nowait.deadline import Deadline

_CONNECT_TIMEOUT = 4.0  # seconds, for each step of connecting
_RETRY_DELAY = 0.2  # seconds from a failed try to the next
MAX_CONNECTIONS = 8  # of one process


class Undelivered(Exception):
    """A message was not confirmed in time, or was refused; the text says why."""


class QueueFull(Undelivered):
    """Its queue takes no more for now, and no part of it: the broker has refused it (nack)."""


class NoQueue(Undelivered):
    """There is no queue for a message that was published with `mandatory`."""


class ConfirmedPublisher:
    """Publishes, and waits for the broker's confirm.

    There are as many connections, of one channel each, as were ever needed at once, at most
    MAX_CONNECTIONS: a message takes milliseconds, so that hundreds of threads share a few. A process
    that was forked makes its own.

    Args:
        app: its broker is used.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._idle: list[amqp.Channel] = []
        self._free = threading.Semaphore(MAX_CONNECTIONS)
        self._pid = os.getpid()

    def publish(
        self, message: amqp.Message, exchange: str, routing_key: str, timeout: float, mandatory: bool = False
    ) -> None:
        """Publish a message, and return once the broker has it.

        Args:
            message: what to send.
            exchange: where to; "" for the default one.
            routing_key: with the default exchange, the queue's name.
            timeout: seconds for all of it: a lost connection is replaced within them.
            mandatory: there has to be a queue for it.

        Raises Undelivered, QueueFull and NoQueue. A message that was published and not confirmed may be there twice.
        """
        deadline = Deadline.after(timeout)
        encoding: Any = message
        try:
            encoding._serialize_properties()
        except Exception as error:  # struct's, py-amqp's own, RecursionError: it would be so with each connection
            raise Undelivered(f"it cannot be encoded: {type(error).__name__}: {error}") from error
        self._leave_parent()
        if not self._free.acquire(timeout=timeout):
            raise Undelivered("all connections were busy")
        try:
            self._publish(message, exchange, routing_key, deadline, mandatory)
        finally:
            self._free.release()

    def _publish(
        self, message: amqp.Message, exchange: str, routing_key: str, deadline: Deadline, mandatory: bool
    ) -> None:
        while True:
            channel: amqp.Channel | None = None
            try:
                channel = self._take(deadline)
                timeout = max(0.001, deadline.remaining())
                failure = _publish(channel, message, exchange, routing_key, timeout, mandatory)
            except amqp.ChannelError as error:
                # No permission, no such exchange, too large: it would be so again.
                _drop(channel)
                raise Undelivered(str(error)) from error
            except Exception as error:
                # py-amqp and the socket raise a dozen unrelated types. The channel is of no use any
                # more: a confirm that comes late would be taken for the next message's.
                _drop(channel)
                if deadline.remaining() <= _RETRY_DELAY:
                    raise Undelivered(f"{type(error).__name__}: {error}") from error
                time.sleep(_RETRY_DELAY)
            else:
                self._idle.append(channel)
                if failure is not None:
                    raise failure
                return

    def _take(self, deadline: Deadline) -> amqp.Channel:
        """An idle channel, or a new one. Raises TimeoutError at the deadline, and what connecting raises."""
        with contextlib.suppress(IndexError):
            return self._idle.pop()
        # In a thread, as names, TCP, TLS and login have no limit in common.
        opened: Future[amqp.Channel] = Future()
        threading.Thread(target=self._open, args=(opened,), name="publisher", daemon=True).start()
        try:
            return opened.result(deadline.remaining())
        except FutureTimeout:
            if not opened.cancel():  # done at the last moment
                return opened.result()
            raise TimeoutError("there was no connection in time") from None

    def _leave_parent(self) -> None:
        """After a fork, have no channel of the parent's."""
        if self._pid != os.getpid():
            inherited, self._idle, self._pid = self._idle, [], os.getpid()
            self._free = threading.Semaphore(MAX_CONNECTIONS)
            for channel in inherited:
                _forget(channel)

    def _open(self, opened: "Future[amqp.Channel]") -> None:
        """Open a connection with a channel, for whoever waits for it, or for the next."""
        raw: Any = None
        try:
            connection: Any = self._app.connection_for_write(connect_timeout=_CONNECT_TIMEOUT, heartbeat=0)
            # Each URL once.
            urls = len(connection.alt or "1")
            connection.ensure_connection(max_retries=urls - 1, interval_start=0, interval_step=0)
            raw = connection.connection
            raw.transport.sock.settimeout(_CONNECT_TIMEOUT)
            channel: amqp.Channel = raw.channel()
            channel.confirm_select()
        except Exception as error:
            if raw is not None:
                raw.collect()
            if opened.set_running_or_notify_cancel():
                opened.set_exception(error)
            return
        if opened.set_running_or_notify_cancel():
            opened.set_result(channel)
        elif len(self._idle) < MAX_CONNECTIONS:
            self._idle.append(channel)
        else:
            _drop(channel)


def _publish(
    channel: amqp.Channel, message: amqp.Message, exchange: str, routing_key: str, timeout: float, mandatory: bool
) -> Undelivered | None:
    """Publish and wait for the confirm. Returns what a nack or a return means, None for neither.

    Raises when the broker is silent for `timeout`.
    """
    answers: list[Any] = []
    returned: list[Any] = []
    raw: Any = channel
    raw.events["basic_return"] = {lambda *_: returned.append(True)}
    channel.connection.transport.sock.settimeout(timeout)
    # As basic_publish, but for its look at what came meanwhile: wait() looks anyway.
    channel.send_method(spec.Basic.Publish, "Bssbb", (0, exchange, routing_key, mandatory, False), message)
    channel.wait([spec.Basic.Ack, spec.Basic.Nack], callback=lambda method, *_: answers.append(method))
    if returned:
        return NoQueue("there is no queue for it")
    return None if answers == [spec.Basic.Ack] else QueueFull("the broker refused it")


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
