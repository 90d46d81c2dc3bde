"""Two connections as one link, whose other ends are a test's."""

import asyncio
import socket
import struct

import kombu
import pytest
from amqp.serialization import dumps

from deploy.local.services import Services
from nowait.budget import Budget
from nowait.link.link import Link
from nowait.link.opener import Opened, OpenSocket, SingleOpener


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


def test_an_open_socket_has_what_was_agreed_on_with_the_broker(services: Services) -> None:
    opened = SingleOpener(kombu.Connection(services.broker_url, heartbeat=4)).open()
    opened.close()
    # RabbitMQ's own limits.
    assert (opened.frame_max, opened.channel_max, opened.heartbeat) == (131072, 2047, 4)
