"""Receivers of webhooks on loopback, good ones and all kinds of others, and the names that lead to them."""

import asyncio
import socket
import ssl
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trustme

Answer = Callable[["Receivers", asyncio.StreamWriter], Awaitable[None]]

PUBLIC = "8.8.8.8"  # of the internet; nothing is sent there, see Connects
INNER = "127.0.0.1"
METADATA = "169.254.169.254"


def status(code: int, *headers: str) -> Answer:
    """Answers at once."""

    async def answer(receivers: "Receivers", writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {code} Any", "Content-Length: 0", "Connection: close", *headers]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await writer.drain()

    return answer


async def hang(receivers: "Receivers", writer: asyncio.StreamWriter) -> None:
    """Takes the message, and never answers."""
    await receivers.closing.wait()


async def trickle(receivers: "Receivers", writer: asyncio.StreamWriter) -> None:
    """Answers a byte each second."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not receivers.closing.is_set():
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(1.0)


async def flood(receivers: "Receivers", writer: asyncio.StreamWriter) -> None:
    """Answers with a body of 1 GB, without a word of its length."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    part = b"10000\r\n" + bytes(65536) + b"\r\n"
    for _ in range(16384):
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0)
        if writer.is_closing():
            return
        receivers.flooded += 65536


BAD: dict[str, Answer] = {
    "500": status(500),
    "hang": hang,
    "trickle": trickle,
    "redirect": status(302, f"Location: http://{METADATA}/latest/meta-data/"),
    "flood": flood,
    "gone": status(410),
}
OTHERS = ("certificate", "down", "rebinding", "metadata")
"""Whose answer is no matter: their certificates, addresses or ports are bad."""


BUFFERED = sum(int(Path(f"/proc/sys/net/ipv4/tcp_{side}mem").read_text().split()[2]) for side in "rw") + 2**20
"""Bytes that the sockets of both sides may hold of what nobody reads, and what is read before that is given up."""


class Receivers:
    """They listen on one port, each on an address of its own.

    Args:
        good: how many good ones there are.

    Attributes:
        port: that they listen on.
        got: by the names of the hosts, the moments, headers and bodies of what came, by time.time().
        flooded: bytes that were taken of bodies without end.
        closing: set at the end.
    """

    def __init__(self, good: int) -> None:
        self.answers = {f"good{n}.test": status(204) for n in range(good)}
        self.answers |= {f"{name}.test": answer for name, answer in BAD.items()}
        self.names = [*self.answers, *(f"{name}.test" for name in OTHERS)]
        self.addresses = {name: f"127.0.1.{n + 1}" for n, name in enumerate(self.names)}
        self.addresses |= {"metadata.test": METADATA}
        self.ca = trustme.CA()
        self.port = 0
        self.got: dict[str, list[tuple[float, dict[str, str], bytes]]] = defaultdict(list)
        self.flooded = 0
        self.closing = asyncio.Event()
        self._serving: set[asyncio.Task[Any]] = set()

    @property
    def good(self) -> list[str]:
        """The names of the good ones."""
        return [name for name in self.names if name.startswith("good")]

    @property
    def allowed(self) -> str:
        """The setting that allows what is on loopback, but for what the guard has to refuse."""
        refused = ("rebinding.test", "metadata.test")
        return ",".join(f"{name}:{self.port}" for name in self.names if name not in refused)

    def url(self, name: str) -> str:
        """Where a job is to be delivered."""
        port = 443 if name in ("rebinding.test", "metadata.test") else self.port
        return f"https://{name}:{port}/hooks"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Receivers"]:
        """They do while the block runs."""
        servers = []
        for name in [*self.answers, "certificate.test"]:
            server = await asyncio.start_server(
                self._serve(name), self.addresses[name], self.port, ssl=self._tls(name), backlog=1000
            )
            self.port = server.sockets[0].getsockname()[1]
            servers.append(server)
        try:
            yield self
        finally:
            self.closing.set()
            for server in servers:
                server.close()
            for task in self._serving:
                task.cancel()
            if self._serving:
                await asyncio.wait(self._serving)

    def _tls(self, name: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.ca.issue_cert("other.test" if name == "certificate.test" else name).configure_cert(context)
        return context

    def _serve(self, name: str) -> Any:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
                headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in head)}
                body = await reader.readexactly(int(headers["content-length"]))
                self.got[name].append((time.time(), headers, body))
                await self.answers[name](self, writer)
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                writer.close()

        return serve


class Names:
    """In place of socket.getaddrinfo.

    Args:
        addresses: of the hosts, by name.
    """

    def __init__(self, addresses: dict[str, str]) -> None:
        self._addresses = addresses
        self._rebound = False

    def __call__(self, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        host = host.removesuffix(".")
        address = self._addresses.get(host)
        if host == "rebinding.test":
            # Another one each time: whoever looks twice sends to the inner one.
            address, self._rebound = INNER if self._rebound else PUBLIC, not self._rebound
        if address is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]


class Connects:
    """Notes what sockets of this process are connected to, and lets none leave loopback.

    Args:
        note: gets `address:port` of each.
    """

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._connect = socket.socket.connect

    def connect(self, sock: socket.socket, address: Any) -> None:
        """In place of socket.socket.connect."""
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            self._note(f"{address[0]}:{address[1]}")
            if not str(address[0]).startswith("127."):
                raise ConnectionRefusedError("tests leave loopback alone")
        self._connect(sock, address)
