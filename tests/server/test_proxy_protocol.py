"""Balancers that pass bytes on say whose they are, and nobody else does."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from deploy.local.process import Process, free_port, listens
from server.http.limits import SERVER_OPTIONS
from server.http.listener import Listener
from server.http.proxies import Proxies
from tests import programs
from tests.bridge.conftest import until

BALANCERS = Proxies.parse("127.0.0.0/24")
REQUEST = b"GET / HTTP/1.0\r\n\r\n"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
# https://github.com/haproxy/haproxy/blob/master/doc/proxy-protocol.txt, 2.2: version and command, family and transport,
# length, addresses, ports.
IPV4 = SIGNATURE + b"\x21\x11\x00\x0c" + bytes([192, 0, 2, 7, 127, 0, 0, 1]) + b"\x00\x50\x1f\x40"
HEADERS = {
    "version 1": (b"PROXY TCP4 192.0.2.7 127.0.0.1 80 8000\r\n", "192.0.2.7"),
    "version 1, IPv6": (b"PROXY TCP6 2001:db8::7 ::1 80 8000\r\n", "2001:db8::7"),
    "version 1, unknown": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "version 2": (IPV4, "192.0.2.7"),
    "version 2, its own": (SIGNATURE + b"\x20\x00\x00\x00", "127.0.0.1"),
}
BAD = {
    "a request": REQUEST,
    "nothing": b"",
    "half of a line": b"PROXY TCP4 192.0.2.7",
    "a line without end": b"PROXY TCP4 " + b"1" * 200,
    "no address": b"PROXY TCP4 evil 127.0.0.1 80 8000\r\n",
    "no port": b"PROXY TCP4 192.0.2.7 127.0.0.1 80 80000\r\n",
    "another version": SIGNATURE + b"\x31\x11\x00\x00",
    "no room for its addresses": SIGNATURE + b"\x21\x11\x00\x02ab",
    "not all of it": IPV4[:-1],
}


class Address(RequestHandler):
    def get(self) -> None:
        self.write(f"{self.request.remote_ip} {self.request.headers.get('Name', '')}")


@asynccontextmanager
async def listening(context: ssl.SSLContext | None = None, balancers: Proxies = BALANCERS) -> AsyncIterator[int]:
    """The port of a server that answers with the address of its client."""
    sock, port = bind_unused_port()
    http = Listener(
        Application([("/", Address)]), most=10, introduced_by=balancers, ssl_options=context, **SERVER_OPTIONS
    )
    http.add_sockets([sock])
    try:
        yield port
        await until(lambda: not len(http.connections))
    finally:
        http.stop()
        await http.close_all_connections()


async def exchange(port: int, *pieces: bytes) -> bytes:
    """What is answered until the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if not pieces[-1].endswith(REQUEST):
            writer.write_eof()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.gen_test
@pytest.mark.parametrize("name", HEADERS)
async def test_a_client_has_the_address_that_the_balancer_gives_it(name: str) -> None:
    header, address = HEADERS[name]
    async with listening() as port:
        whole = await exchange(port, header + REQUEST)
        pieces = await exchange(port, *(bytes([each]) for each in header), REQUEST)
    assert whole.endswith(f"\r\n\r\n{address} ".encode())
    assert pieces.endswith(f"\r\n\r\n{address} ".encode())


@pytest.mark.gen_test
@pytest.mark.parametrize("name", BAD)
async def test_without_a_header_the_connection_is_closed(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with listening() as port:
        assert await exchange(port, BAD[name]) == b""
        good = await exchange(port, HEADERS["version 2"][0] + REQUEST)
    assert good.endswith(b"192.0.2.7 ")
    (record,) = caplog.records
    assert record.message.startswith("1 connections of balancers were closed, the last one of 127.0.0.1: ")


@pytest.mark.gen_test
async def test_of_others_a_header_is_no_request_and_none_is_wanted() -> None:
    async with listening(balancers=Proxies.parse("192.0.2.1")) as port:
        forged = await exchange(port, HEADERS["version 1"][0] + REQUEST)
        plain = await exchange(port, REQUEST)
    assert b"192.0.2.7" not in forged and not forged.startswith(b"HTTP/1.1 200")
    assert plain.endswith(b"127.0.0.1 ")


@pytest.mark.gen_test
async def test_a_balancer_that_says_nothing_is_waited_for_no_longer_than_a_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.http.connections._FIRST", 0.5)
    async with listening() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PROXY")
        assert await reader.read() == b""
        writer.close()


@pytest.mark.gen_test
async def test_what_is_behind_it_may_be_tls() -> None:
    ca = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)
    async with listening(context) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEADERS["version 2"][0])
        await writer.start_tls(trusting, server_hostname="127.0.0.1")
        writer.write(REQUEST)
        assert (await reader.read()).endswith(b"192.0.2.7 ")
        writer.close()


@pytest.mark.gen_test
@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2"])
async def test_haproxy_is_understood(tmp_path: Path, option: str) -> None:
    programs.require("haproxy")
    front = free_port()
    async with listening() as port:
        (tmp_path / "haproxy.cfg").write_text(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n"
            f"listen front\n bind 127.0.0.1:{front}\n server one 127.0.0.1:{port} {option} check\n"
        )
        command = [programs.path("haproxy"), "-db", "-f", str(tmp_path / "haproxy.cfg")]
        process = Process("haproxy", command, output=tmp_path / "log")
        try:
            await until(lambda: listens(front))
            reader, writer = await asyncio.open_connection("127.0.0.1", front, local_addr=("127.0.0.9", 0))
            writer.write(REQUEST)
            assert (await reader.read()).endswith(b"127.0.0.9 ")
            writer.close()
        finally:
            process.kill()
