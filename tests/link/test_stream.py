"""The stream, over real sockets."""

import asyncio
import socket

import pytest

from nowait.link.stream import Stream
from tests.bridge.conftest import until


class Peer:
    """A stream and the other end of its socket."""

    def __init__(self) -> None:
        own, self.other = socket.socketpair()
        self.other.settimeout(10)
        self.received = bytearray()
        self.lost: list[Exception] = []
        self.stream = Stream(own, self.received.extend, self.lost.append)

    async def read(self, size: int) -> bytes:
        def read() -> bytes:
            data = bytearray()
            while len(data) < size:
                data += self.other.recv(65536)
            return bytes(data)

        return await asyncio.get_running_loop().run_in_executor(None, read)

    def close(self) -> None:
        self.stream.close()
        self.other.close()


@pytest.mark.gen_test
async def test_what_is_written_arrives_in_order_even_when_the_peer_is_slow() -> None:
    peer = Peer()
    data = bytes(range(256)) * 40_000  # more than any socket buffer
    for at in range(0, len(data), 100_000):
        peer.stream.write(data[at : at + 100_000])
    await until(lambda: 0 < peer.stream.unsent < len(data))
    peer.stream.write(b"the end")
    assert await peer.read(len(data) + 7) == data + b"the end"
    await until(lambda: peer.stream.unsent == 0)
    peer.close()


@pytest.mark.gen_test
async def test_a_peer_that_takes_nothing_for_a_while_is_not_lost_while_that_is_expected() -> None:
    def limit() -> int:
        return own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)

    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as own:
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000)
        stream = Stream(own, bytearray().extend, [].append)
        stream.be_patient(True)
        assert limit() == 0
        stream.be_patient(False)
        assert limit() == 1000
        stream.close()
        stream.be_patient(True)
    peer = Peer()
    peer.stream.be_patient(True)  # there is no such limit
    peer.close()


@pytest.mark.gen_test
async def test_the_writes_of_one_tick_leave_together() -> None:
    peer = Peer()
    for _ in range(10):
        peer.stream.write(b"frame")
    assert peer.stream.unsent == 50
    assert await peer.read(50) == b"frame" * 10
    peer.close()


@pytest.mark.gen_test
async def test_what_the_peer_sends_arrives() -> None:
    peer = Peer()
    peer.other.sendall(b"x" * 100_000)
    await until(lambda: len(peer.received) == 100_000)
    peer.close()


@pytest.mark.gen_test
@pytest.mark.parametrize("writes", [False, True])
async def test_a_peer_that_is_gone_is_noticed_once(writes: bool) -> None:
    peer = Peer()
    peer.other.close()
    if writes:
        peer.stream.write(b"x")
    await until(lambda: bool(peer.lost))
    peer.stream.write(b"nobody reads this")
    await asyncio.sleep(0.05)
    assert len(peer.lost) == 1
    assert isinstance(peer.lost[0], OSError)


@pytest.mark.gen_test
async def test_closing_it_is_not_a_loss() -> None:
    peer = Peer()
    peer.stream.close()
    peer.stream.close()
    peer.stream.write(b"x")
    peer.other.close()
    await asyncio.sleep(0.05)
    assert peer.lost == []


@pytest.mark.gen_test
async def test_it_may_be_closed_from_within_its_own_callback() -> None:
    own, other = socket.socketpair()
    lost: list[Exception] = []
    seen: list[bytes] = []

    def on_data(data: bytes) -> None:
        seen.append(data)
        stream.close()

    stream = Stream(own, on_data, lost.append)
    other.sendall(b"x")
    await until(lambda: bool(seen))
    await asyncio.sleep(0.05)
    assert (seen, lost) == ([b"x"], [])
    other.close()
