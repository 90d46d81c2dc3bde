"""Confirmed messages: all of publishing has one limit of time, whatever does not answer."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import amqp
import kombu
import pytest
from celery import Celery

from deploy.local.broker import Broker
from deploy.local.process import free_port
from nowait.worker.publisher import MAX_CONNECTIONS, ConfirmedPublisher, Undelivered

TIMEOUT = 1.0  # seconds
LATEST = 4.0  # seconds; less than connecting alone may take
CONNECTION_OPEN, CHANNEL_OPEN, CONFIRM_SELECT = b"\0\x0a\0\x28", b"\0\x14\0\x0a", b"\0\x55\0\x0a"
PUBLISH = b"\0\x3c\0\x28"


@contextmanager
def silent(target: int, until: bytes | None) -> Iterator[int]:
    """The port of a way to a broker that falls silent when the client sends `until`; None for at once."""
    ended = threading.Event()
    sockets: list[socket.socket] = []

    def forward(source: socket.socket, sink: socket.socket, limit: bytes | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if limit is not None and limit in data:
                    ended.wait()
                sink.sendall(data)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                sockets.append(client)
                if until is not None:
                    broker = socket.create_connection(("127.0.0.1", target))
                    sockets.append(broker)
                    for pair in ((client, broker, until), (broker, client, None)):
                        threads.append(threading.Thread(target=forward, args=pair))
                        threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = [threading.Thread(target=serve)]
        threads[0].start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            for sock in (listener, *sockets):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
            for thread in threads:
                thread.join()


@contextmanager
def publisher(url: str) -> Iterator[ConfirmedPublisher]:
    """A publisher whose connections are closed at the end."""
    made = ConfirmedPublisher(Celery("publisher", broker=url, set_as_current=False))
    yield made
    for thread in threading.enumerate():
        if thread.name == "publisher":
            thread.join()
    for idle in made._idle:
        idle.connection.collect()


@pytest.mark.parametrize(
    "until",
    [None, CONNECTION_OPEN, CHANNEL_OPEN, CONFIRM_SELECT, PUBLISH],
    ids=["connected", "login", "channel", "confirm", "published"],
)
def test_a_broker_that_falls_silent_takes_no_longer_than_the_timeout(
    private_broker: Broker, until: bytes | None
) -> None:
    port = private_broker.port
    with silent(port, until) as way, publisher(private_broker.url.replace(f":{port}", f":{way}")) as publishes:
        started = time.monotonic()
        with pytest.raises(Undelivered):
            publishes.publish(amqp.Message("x"), "", "tests", TIMEOUT)
        assert TIMEOUT / 2 <= time.monotonic() - started < LATEST


def test_a_message_goes_to_the_next_broker_where_the_first_does_not_listen(vhost: str) -> None:
    url = f"amqp://guest:guest@127.0.0.1:{free_port()}//"
    with kombu.Connection(vhost) as connection:
        channel: Any = connection.default_channel
        channel.queue_declare("tests", durable=True, auto_delete=False)
        with publisher(";".join([url, url, url, vhost])) as publishes:
            publishes.publish(amqp.Message("x"), "", "tests", 30.0)
        assert channel.basic_get("tests", no_ack=True).body == "x"


def test_many_threads_share_a_few_connections(vhost: str) -> None:
    with kombu.Connection(vhost) as connection, publisher(vhost) as publishes:
        channel: Any = connection.default_channel
        channel.queue_declare("tests", durable=True, auto_delete=False)
        threads = [
            threading.Thread(target=publishes.publish, args=(amqp.Message(f"{number}"), "", "tests", 30.0))
            for number in range(5 * MAX_CONNECTIONS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        bodies = {channel.basic_get("tests", no_ack=True).body for _ in threads}
        assert bodies == {f"{number}" for number in range(5 * MAX_CONNECTIONS)}
        assert 1 <= len(publishes._idle) <= MAX_CONNECTIONS


def test_a_message_that_cannot_be_encoded_costs_no_connection(vhost: str) -> None:
    with kombu.Connection(vhost) as connection, publisher(vhost) as publishes:
        channel: Any = connection.default_channel
        channel.queue_declare("tests", durable=True, auto_delete=False)
        publishes.publish(amqp.Message("x"), "", "tests", 30.0)
        idle = list(publishes._idle)
        for wrong in ({"message_id": "x" * 256}, {"application_headers": {"x": object()}}, {"priority": 1000}):
            with pytest.raises(Undelivered, match="encoded"):
                publishes.publish(amqp.Message("x", **wrong), "", "tests", TIMEOUT)
        assert len(idle) == 1 and publishes._idle == idle


def test_an_exchange_that_is_not_there_is_undelivered(private_broker: Broker) -> None:
    with publisher(private_broker.url) as publishes, pytest.raises(Undelivered, match="NOT_FOUND"):
        publishes.publish(amqp.Message("x"), "nowhere", "tests", TIMEOUT)
