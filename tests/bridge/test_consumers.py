"""The connection of consumers, without a broker."""

import asyncio
import socket

import pytest

from nowait.bridge.consumers import Consumers
from nowait.errors import Disconnected
from nowait.link.opener import OpenSocket


class Ended:
    """Opens connections whose other end has gone by the time that they are there."""

    def open(self) -> OpenSocket:
        ours, theirs = socket.socketpair()
        theirs.close()
        return OpenSocket(ours, 0, 0, 0)


@pytest.mark.gen_test
async def test_a_connection_that_is_lost_before_a_consumer_has_it_fails_the_consumer() -> None:
    consumers = Consumers(Ended(), "consumers")

    async def consume() -> None:
        async with consumers.consume("any", 1):
            pass

    for _ in range(3):
        with pytest.raises(Disconnected):
            await asyncio.wait_for(consume(), 20)
    await consumers.stop(0)
