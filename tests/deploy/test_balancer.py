"""HAProxy with deploy/haproxy.cfg: what a server has seen is not sent a second time."""

import os
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
import trustme

from deploy.local.process import listens
from tests import balancer, programs
from tests.balancer import CONFIGURATION
from tests.http import fetch


class Handler(BaseHTTPRequestHandler):
    """Is ready; answers 200, or 503 at /503, or hangs up at /nothing."""

    server: "Server"

    def do_GET(self) -> None:
        if self.path == "/readyz":
            self.server.asked.set()
        else:
            self.server.seen.append(f"{self.command} {self.path}")
        if self.path == "/nothing":
            self.close_connection = True
            return
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(503 if self.path == "/503" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Notes what it has seen, and that it was asked whether it is ready."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = seen
        self.asked = threading.Event()


@pytest.fixture
def seen() -> list[str]:
    """The requests that the servers have seen."""
    return []


@pytest.fixture
def servers(seen: list[str]) -> Iterator[list[Server]]:
    """Two servers that are ready."""
    servers = [Server(seen), Server(seen)]
    threads = [threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}) for server in servers]
    for thread in threads:
        thread.start()
    yield servers
    for server in servers:
        server.shutdown()
        server.server_close()
    for thread in threads:
        thread.join()


def balance(folder: Path, ports: list[int], configuration: str = CONFIGURATION) -> Iterator[str]:
    """The URL of a balancer before servers with these ports."""
    process, port = balancer.begin(folder, ports, configuration)
    try:
        process.wait_until(lambda: listens(port), 30.0)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop()


@pytest.fixture
def url(servers: list[Server], tmp_path: Path) -> Iterator[str]:
    """The URL of the balancer."""
    yield from balance(tmp_path, [server.server_port for server in servers])


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(("path", "status"), [("/503", 503), ("/nothing", 502)])
def test_a_request_that_a_server_has_seen_is_seen_once(
    url: str, seen: list[str], method: str, path: str, status: int
) -> None:
    assert fetch(url + path, method=method, body=b"{}" if method == "POST" else None).status == status
    assert seen == [f"{method} {path}"]


def test_a_server_that_refuses_connections_is_passed_over(
    servers: list[Server], seen: list[str], tmp_path: Path
) -> None:
    # The balancer asks the first of them at once, and does not look again.
    configuration = CONFIGURATION.replace("inter 500ms", "inter 1h").replace("local0 notice", "local0 info")
    for url in balance(tmp_path, [server.server_port for server in servers], configuration):
        assert servers[0].asked.wait(30)
        servers[0].shutdown()
        servers[0].server_close()
        for method in ("GET", "POST", "GET", "POST"):
            assert fetch(f"{url}/one", method=method, body=b"{}").status == 200
    assert seen == ["GET /one", "POST /one"] * 2
    # The number of retries, with a + where another server was taken: see `option httplog`.
    assert re.search(r"/\+\d+ ", (tmp_path / "log").read_text())


def test_its_lines_for_https_serve_clients_and_servers(servers: list[Server], seen: list[str], tmp_path: Path) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("server.example").configure_cert(context)
    for server in servers:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "api.pem"))
    configuration = re.sub(r"^( +)# (bind|default-server) ", r"\1\2 ", CONFIGURATION, flags=re.MULTILINE)
    configuration = configuration.replace("    bind :80\n", "").replace("bind :443", "bind :80")
    configuration = re.sub("/etc/(haproxy|nowait)/", f"{tmp_path}/", configuration)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    for url in balance(tmp_path, [server.server_port for server in servers], configuration):
        for server in servers:
            assert server.asked.wait(30)
        with urlopen(f"{url.replace('http', 'https')}/one", context=trusting, timeout=30) as answer:
            assert answer.status == 200
    assert seen == ["GET /one"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes another user")
def test_what_reads_requests_is_not_root(servers: list[Server], tmp_path: Path) -> None:
    process, port = balancer.begin(tmp_path, [server.server_port for server in servers])
    try:
        process.wait_until(lambda: listens(port), 30.0)
        process.wait_until(lambda: 0 not in psutil.Process(process.pid).uids(), 30.0)
    finally:
        process.stop()


@pytest.mark.parametrize(("named_by_dns", "status"), [(True, 0), (False, 1)])
def test_it_starts_without_the_address_of_a_server_where_dns_has_it(
    named_by_dns: bool, status: int, tmp_path: Path
) -> None:
    programs.require("haproxy")
    configuration = CONFIGURATION.replace(".example:", ".invalid:")
    if named_by_dns:
        configuration = configuration.replace("# default-server init-addr", "default-server init-addr")
    (tmp_path / "haproxy.cfg").write_text(configuration)
    check = [programs.path("haproxy"), "-c", "-f", str(tmp_path / "haproxy.cfg")]
    assert subprocess.run(check, capture_output=True, timeout=60).returncode == status
