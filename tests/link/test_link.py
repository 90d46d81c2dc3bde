"""Two connections as one link, whose other ends are a test's."""

import asyncio
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

import kombu
import pytest
from amqp.serialization import dumps

from deploy.local.services import Services
from nowait.amqp import methods
from nowait.budget import Budget
from nowait.link.link import Link
from nowait.link.opener import ConnectionLost, Opened, OpenSocket, SingleOpener
from nowait.link.supervisor import supervise
from tests.bridge.conftest import until


@pytest.mark.gen_test
@pytest.mark.parametrize(("which", "refused"), [("consumer", False), ("publisher", True)])
async def test_only_the_publishing_channel_can_have_been_refused_a_message(which: str, refused: bool) -> None:
    ends = {name: socket.socketpair() for name in ("consumer", "publisher")}
    opened = Opened(*[OpenSocket(own, 131072, 0, 2047) for own, _ in ends.values()])
    link = Link(opened, lambda _event: None, Budget(1000))
    payload = struct.pack(">HH", 20, 40) + bytes(dumps("BsBB", (403, "ACCESS_REFUSED", 60, 20)))
    ends[which][1].sendall(struct.pack(">BHI", 1, 1, len(payload)) + payload + b"\xce")
    reason = await asyncio.wait_for(asyncio.shield(link.lost), 30)
    assert (reason.refused, "ACCESS_REFUSED" in str(reason)) == (refused, True)
    await link.close(0)
    for _, other in ends.values():
        other.close()


class Ends:
    """Opens links, whose other ends are the test's."""

    def __init__(self) -> None:
        self.links: list[tuple[socket.socket, socket.socket]] = []

    def open(self) -> Opened:
        (consumer, its), (publisher, other) = socket.socketpair(), socket.socketpair()
        self.links.append((its, other))
        return Opened(OpenSocket(consumer, 131072, 0, 2047), OpenSocket(publisher, 131072, 0, 2047))


@pytest.mark.gen_test
async def test_what_was_written_to_one_connection_is_read_when_the_other_is_lost() -> None:
    ends, up = Ends(), list[Link]()
    with ThreadPoolExecutor(1) as executor:
        async def lost(_reason: ConnectionLost) -> None:
            assert up[-1].consumes
            up[-1].settle([], [(7, False)])

        supervision = supervise(ends, executor, up.append, lambda _event: None, lost, Budget(1000), close_timeout=20)
        supervisor = asyncio.ensure_future(supervision)
        await until(lambda: len(up) == 1)
        consumer, publisher = ends.links[0]
        publisher.close()
        consumer.settimeout(20)
        expected = methods.ack(1, 7, False) + methods.close()
        assert await asyncio.to_thread(_read, consumer, len(expected)) == expected
        assert len(up) == 1
        consumer.sendall(struct.pack(">BHIHHB", 1, 0, 4, 10, 51, 0xCE))  # close-ok
        await until(lambda: len(up) == 2)
        supervisor.cancel()
        await asyncio.gather(supervisor, return_exceptions=True)
    await up[-1].close(0)
    for pair in ends.links:
        for end in pair:
            end.close()


def _read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += sock.recv(size - len(data))
    return data


def test_an_open_socket_has_what_was_agreed_on_with_the_broker(services: Services) -> None:
    opened = SingleOpener(kombu.Connection(services.broker_url, heartbeat=4)).open()
    opened.close()
    # RabbitMQ's own limits.
    assert (opened.frame_max, opened.channel_max, opened.heartbeat) == (131072, 2047, 4)
