"""Clients that ask for large answers and do not read them."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.process import Process, free_port
from deploy.local.services import Services
from tests.conftest import Start, celery_worker, printed, ready, services_settings
from tests.faults.figures import Figures
from tests.http import fetch

pytestmark = [pytest.mark.gen_test(timeout=600), pytest.mark.timeout(600)]

_ANSWER = 16_000_000  # bytes of the texts in one
_BUDGET = 128 * 1024 * 1024
_TIMEOUT, _SHORT = 20.0, 5.0  # seconds of a request, in full and shortened
_READING = 10.0 + 5.0  # seconds that a client gets for a part of an answer, and as many to spare


@pytest.fixture
def site(services: Services, start: Start, tmp_path: Path, scale: float) -> Iterator[tuple[Process, str]]:
    """A server whose workers have the query `large`, and its URL."""
    folder = tmp_path / "queries"
    folder.mkdir()
    statement = f"SELECT id, REPEAT('x', {_ANSWER // 16}) AS text FROM users WHERE id <= 16 ORDER BY id"
    (folder / "large.sql").write_text(statement)
    (folder / "large.toml").write_text("[large]\ncoalesce = false")
    settings = {**services_settings(services), "queries": folder}
    worker = celery_worker(start, "tasks", "-P", "threads", "-c", "8", **settings)
    port = free_port()
    limits = {"max_answer_bytes": _BUDGET, "timeout": _TIMEOUT if scale else _SHORT, "max_in_flight": 2000}
    server = start("server", "server", port=port, **limits, **settings)
    try:
        yield server, ready(server, port)
    finally:
        server.kill()
        worker.kill()


async def asking(port: int) -> socket.socket:
    """A connection by which a large answer was asked for."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", port))
    await loop.sock_sendall(sock, b"GET /queries/large HTTP/1.1\r\nHost: h\r\n\r\n")
    return sock


async def read_to_the_end(sock: socket.socket) -> bytes:
    """The first bytes of an answer whose client has begun to read when its time was over."""
    loop = asyncio.get_running_loop()
    found = bytearray()
    try:
        while data := await loop.sock_recv(sock, 1 << 20):
            found += data[: max(0, 100 - len(found))]
            if b" 503 " in found or b" 504 " in found:
                break  # the connection is kept
    except ConnectionError:
        pass
    return bytes(found)


async def test_readers_that_do_not_read_take_no_more_than_the_budget_and_are_closed(
    site: tuple[Process, str], scale: float, figures: Figures
) -> None:
    server, url = site
    clients = round(1000 * scale) or 40
    process, loop = psutil.Process(server.pid), asyncio.get_running_loop()
    before = most = process.memory_info().rss
    slowest = 0.0
    socks = [await asking(int(url.rpartition(":")[2])) for _ in range(clients)]
    end = loop.time() + (_TIMEOUT if scale else _SHORT) + _READING
    while loop.time() < end:
        sent = loop.time()
        assert (await asyncio.to_thread(fetch, f"{url}/i_want_you_now")).status == 200
        slowest = max(slowest, loop.time() - sent)
        most = max(most, process.memory_info().rss)
        await asyncio.sleep(0.02)
    answers = await asyncio.gather(*map(read_to_the_end, socks))
    kinds = {kind: sum(f" {kind} ".encode() in answer for answer in answers) for kind in (200, 503, 504)}
    for sock in socks:
        sock.close()
    grown = (most - before) / 1e6
    figures.remark(
        f"{clients} readers that do not read", memory_MB=round(grown), allowed_MB=round(_BUDGET / 1e6),
        closed=kinds[200], refused=kinds[503], too_late=kinds[504], slowest_now=slowest,
    )  # fmt: skip
    assert sum(kinds.values()) == clients and kinds[200], printed(server)[-2000:]
    # What the decoder, the allocator and the sockets need besides.
    assert grown < _BUDGET / 1e6 + 64
    assert (await asyncio.to_thread(fetch, f"{url}/queries/large")).status == 200
