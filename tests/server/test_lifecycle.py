"""A server that stops answers every request that it has taken, in one order."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from deploy.local.process import free_port
from nowait.testing import FakeBridge
from server import lifecycle
from server.app import WebApplication, make_app
from server.http.limits import SERVER_OPTIONS
from server.keys.file import KeyFile
from server.lifecycle import Server, shut_down
from server.settings import Settings
from tests.bridge.conftest import until
from tests.server.key_files import Keys

LARGE = "x" * 20_000_000  # bytes: far more than the socket buffers of both sides hold


async def query_users(flag: int, delay: float) -> list[dict[str, Any]]:
    await asyncio.sleep(delay)
    return [{"text": LARGE}] if flag == 2 else []


def list_queries() -> list[dict[str, Any]]:
    parameters = {"type": "object", "properties": {}}
    return [
        {"name": name, "description": "", "parameters": parameters, "queue": "queries.fast", "repeatable": repeatable}
        for name, repeatable in (("large", True), ("pay", False))
    ]


def run_query(*_: Any) -> list[dict[str, str]]:
    return [{"text": LARGE}]


class Site:
    """One server that is about to be stopped."""

    def __init__(self, tasks: dict[str, Callable[..., Any]] | None = None, **settings: Any) -> None:
        self.settings = Settings(**{"demo": True, "timeout": 60, **settings})
        self.bridge = FakeBridge(
            {"task.query_users": query_users, **(tasks or {})},
            queues=["queries", "queries.catalogue", "queries.fast", "queries.streams"],
        )
        self.app: WebApplication = make_app(self.bridge, self.settings)
        self.http = HTTPServer(self.app, **SERVER_OPTIONS)
        sock, self.port = bind_unused_port()
        self.http.add_socket(sock)

    def fetch(self, path: str, headers: dict[str, str] | None = None) -> Awaitable[HTTPResponse]:
        request = HTTPRequest(f"http://127.0.0.1:{self.port}{path}", headers=headers, request_timeout=60)
        return asyncio.ensure_future(AsyncHTTPClient(force_instance=True).fetch(request, raise_error=False))

    def stop(self) -> "asyncio.Task[None]":
        return asyncio.ensure_future(shut_down(self.http, self.app, self.bridge, self.settings))


@pytest.mark.gen_test
async def test_requests_in_flight_end_and_their_connections_with_them() -> None:
    site = Site(shutdown_timeout=60)
    slow = site.fetch("/mysql_query/1?delay=0.3")
    await until(lambda: site.bridge.in_flight == 1)
    stopping = site.stop()
    assert (await slow).code == 200
    await stopping
    assert site.bridge.state == "stopped"


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/mysql_query/1?delay=60", "/queries"])  # whose list never comes
async def test_requests_beyond_the_drain_are_answered_503(path: str) -> None:
    site = Site(shutdown_timeout=0.1)
    slow = site.fetch(path)
    await until(lambda: site.bridge.in_flight == 1)
    await site.stop()
    response = await slow
    assert response.code == 503
    assert json.loads(response.body)["type"] == "urn:problem-type:nowait:stopping"
    assert response.headers["Retry-After"]


@pytest.mark.gen_test
@pytest.mark.parametrize("accepted", ["application/json", "application/x-ndjson"])
@pytest.mark.parametrize(("name", "status", "kind"), [("large", 503, "stopping"), ("pay", 502, "outcome-unknown")])
async def test_what_may_have_run_once_is_not_answered_as_if_it_had_not(
    name: str, status: int, kind: str, accepted: str
) -> None:
    async def run_query(*_: Any) -> None:
        await asyncio.sleep(60)

    async def stream_query(*_: Any) -> AsyncIterator[bytes]:
        await asyncio.sleep(60)
        yield b""

    tasks = {"task.list_queries": list_queries, "task.run_query": run_query, "task.stream_query": stream_query}
    site = Site(tasks, shutdown_timeout=0.1)
    request = HTTPRequest(f"http://127.0.0.1:{site.port}/queries/{name}", "POST", body="{}", request_timeout=60)
    request.headers.update({"Content-Type": "application/json", "Accept": accepted})
    running = asyncio.ensure_future(AsyncHTTPClient(force_instance=True).fetch(request, raise_error=False))
    await until(lambda: any(task != "task.list_queries" for task, _, _ in site.bridge.sent))
    await site.stop()
    response = await running
    assert (response.code, json.loads(response.body)["type"]) == (status, f"urn:problem-type:nowait:{kind}")
    assert ("Retry-After" in response.headers) is (status == 503)


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/mysql_query/2", "/queries/large"])
async def test_an_answer_under_way_is_written_to_its_end(path: str) -> None:
    site = Site({"task.list_queries": list_queries, "task.run_query": run_query}, shutdown_timeout=0.0)
    with socket.create_connection(("127.0.0.1", site.port)) as sock:
        sock.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        # The handler is done; what it wrote is not on its way yet.
        assert site.bridge.in_flight == 0 and len(site.app.in_flight) == 1
        stopping = site.stop()
        await asyncio.sleep(0.2)
        assert not stopping.done()
        body = await reader.read()
        assert f"Content-Length: {len(body)}".encode() in head
        writer.close()
    await stopping


@pytest.mark.gen_test
async def test_a_reader_that_does_not_read_holds_up_the_stop_for_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lifecycle, "_WRITE_TIMEOUT", 0.2)
    site = Site(shutdown_timeout=0.0)
    with socket.create_connection(("127.0.0.1", site.port)) as sock:
        sock.sendall(b"GET /mysql_query/2 HTTP/1.1\r\nHost: h\r\n\r\n")
        await until(lambda: site.bridge.sent and site.bridge.in_flight == 0)
        with caplog.at_level(logging.WARNING):
            await site.stop()
    assert any("1 answers were not written" in line for line in caplog.messages)


@pytest.mark.gen_test
async def test_what_is_answered_while_a_server_stops_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    stops: list[Callable[[], None]] = []
    monkeypatch.setattr(lifecycle, "on_signal", lambda act, *_: stops.append(act))
    ends: list[int] = []

    async def forever() -> None:
        await asyncio.Event().wait()

    async def measure(server: Server) -> None:
        try:
            await forever()
        finally:
            ends.append(len(server.app.in_flight))

    site = Site(shutdown_timeout=60, port=free_port())
    site.http.stop()
    site.port = site.settings.port
    monkeypatch.setattr(site.app.relay, "run", forever)
    bridge: Any = site.bridge
    serving = asyncio.ensure_future(lifecycle.serve(bridge, site.app, site.settings, False, measure=measure))
    await until(lambda: site.bridge.state == "connected" and bool(stops))
    slow = site.fetch("/mysql_query/1?delay=0.3")
    await until(lambda: site.bridge.in_flight == 1)
    stops[0]()
    assert (await slow).code == 200
    await serving
    assert ends == [0]


@pytest.mark.gen_test
async def test_a_balancer_sees_that_it_is_not_ready_before_connections_are_refused() -> None:
    site = Site(shutdown_notice=0.5, shutdown_timeout=5)
    stopping = site.stop()
    await until(lambda: site.app.in_flight.stopping)
    assert (await site.fetch("/readyz")).code == 503
    response = await site.fetch("/i_want_you_now")
    assert (response.code, response.headers["Connection"]) == (200, "close")
    await stopping
    with pytest.raises(ConnectionRefusedError):
        await site.fetch("/i_want_you_now")


@pytest.mark.gen_test
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_while_it_stops_a_connection_ends_with_its_answer(version: str) -> None:
    site = Site(shutdown_notice=5, shutdown_timeout=5)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    stopping = site.stop()
    await until(lambda: site.app.in_flight.stopping)
    writer.write(f"GET /i_want_you_now HTTP/{version}\r\nHost: h\r\nConnection: keep-alive\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert b"keep-alive" not in head.lower() and f"Content-Length: {len(body)}".encode() in head
    assert not stopping.done()
    writer.close()
    await stopping


@pytest.mark.gen_test
async def test_a_key_that_is_revoked_while_a_server_stops_is_no_key_any_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stops: list[Callable[[], None]] = []
    monkeypatch.setattr(lifecycle, "on_signal", lambda act, *_: stops.append(act))
    keys = Keys(tmp_path / "keys.json")
    headers = keys.add("shop", "admin")
    tasks = {"task.list_queries": list_queries}
    site = Site(tasks, shutdown_notice=5, shutdown_timeout=5, keys=keys.path, demo=False, port=free_port())
    site.http.stop()
    site.port = site.settings.port

    async def forever() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(site.app.relay, "run", forever)
    bridge: Any = site.bridge
    serving = asyncio.ensure_future(lifecycle.serve(bridge, site.app, site.settings, False))
    await until(lambda: bool(stops) and site.bridge.state == "connected")
    stops[0]()
    await until(lambda: site.app.in_flight.stopping)
    assert (await site.fetch("/queries", headers)).code == 200
    with KeyFile(keys.path).editing() as listed:
        listed.clear()
    statuses = [200]
    while statuses[-1] != 401:
        assert not serving.done()
        statuses.append((await site.fetch("/queries", headers)).code)
    await serving
