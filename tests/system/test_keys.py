"""Keys and HTTPS of a server as a process; what needs a worker or a broker is elsewhere."""

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from deploy.local.process import free_port, listens
from server.keys.token import Token
from tests.conftest import ROOT, Start, printed
from tests.http import fetch
from tests.server.key_files import Keys
from tests.system.conftest import wait_until

NOWHERE = "amqp://127.0.0.1:1//"


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys.json")


class Https:
    """A server's certificate, and requests to it."""

    def __init__(self, folder: Path) -> None:
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        self._authority = trustme.CA()
        self._context = ssl.create_default_context()
        self._authority.configure_trust(self._context)
        self.port = free_port()
        self.issue(trustme.KeyType.ECDSA)

    def issue(self, key_type: trustme.KeyType) -> None:
        """Put another certificate, with such a key, in the place of the last one."""
        issued = self._authority.issue_cert("127.0.0.1", key_type=key_type)
        issued.private_key_pem.write_to_path(str(self.key))
        self.cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))

    def serial(self) -> str:
        """Of the certificate of a new connection."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as plain:
            with self._context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
                return str((connection.getpeercert() or {})["serialNumber"])

    def status(self, path: str, headers: dict[str, str]) -> int:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=self._context)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status


def test_keys_and_certificates_are_replaced_while_all_processes_run(keys: Keys, start: Start, tmp_path: Path) -> None:
    one = keys.add("one", "topics")
    https = Https(tmp_path)
    settings = {"keys": keys.path, "tls_cert": https.cert, "tls_key": https.key, "broker_url": NOWHERE}
    server = start("server", "server", port=https.port, processes=2, **settings)
    server.wait_until(lambda: printed(server).count("listening on") == 2, 60.0)

    def statuses(headers: dict[str, str]) -> set[int]:
        """Of both processes, as good as certainly."""
        return {https.status("/events", headers) for _ in range(16)}

    assert statuses(one) == {400}
    two = keys.add("two", "topics")
    wait_until(lambda: statuses(two) == {400})
    before = https.serial()
    https.issue(trustme.KeyType.RSA)
    wait_until(lambda: before not in {https.serial() for _ in range(16)})
    # One that cannot be used changes nothing.
    after = https.serial()
    https.key.write_text("none")
    wait_until(lambda: printed(server).count("the certificate is not replaced") == 2)
    server.signal(signal.SIGHUP)
    wait_until(lambda: printed(server).count("the certificate is not replaced") == 4)
    assert https.serial() == after
    assert https.status("/healthz", {}) == 200
    assert "NO KEYS" not in printed(server)
    assert server.stop() == 0


def test_a_key_is_in_no_line_of_the_log_whoever_writes_it(keys: Keys, start: Start) -> None:
    port = free_port()
    server = start("server", "server", port=port, keys=keys.path, broker_url=NOWHERE, log_level="debug")
    server.wait_until(lambda: listens(port), 60.0)
    token = Token.new()
    text = token.text.encode()
    for request in (
        b"GET /queries HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + text + b"\x01\r\n\r\n",
        b"GET /queries HTTP/1.1\r\nHost: h\r\n" + text + b"\x01: x\r\n\r\n",
        b"GET /queries?key=" + text + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        b"GET /" + text.replace(b"_", b"%5F") + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        b"GET /" + text + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        b"GET /queries HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer " + text + b"\r\n\r\n",
        text + b" / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            connection.sendall(request)
            while connection.recv(4096):
                pass
    wait_until(lambda: f"key {token.id} is refused: unknown" in printed(server))
    assert server.stop() == 0
    log = printed(server)
    assert f"nwt_{token.id}_..." in log, "Tornado repeats what it cannot read"
    assert token.text[13:30] not in log


@pytest.mark.parametrize(("address", "open_to_others"), [("0.0.0.0", True), ("127.0.0.1", False)])
def test_without_keys_it_is_loud_where_others_reach_it_and_sighup_does_nothing(
    start: Start, address: str, open_to_others: bool
) -> None:
    port = free_port()
    server = start("server", "server", port=port, address=address, broker_url=NOWHERE)
    server.wait_until(lambda: "listening on" in printed(server), 60.0)
    assert ("WARNING server.lifecycle: NO KEYS" in printed(server)) == open_to_others
    server.signal(signal.SIGHUP)
    assert fetch(f"http://127.0.0.1:{port}/healthz").status == 200
    assert server.stop() == 0


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("broken", ["keys", "certificate"])
def test_what_cannot_be_used_is_one_line(tmp_path: Path, processes: str, broken: str) -> None:
    (tmp_path / "secret").write_text('{"secret": 1}')
    file, port = str(tmp_path / "secret"), str(free_port())
    given = {"KEYS": file} if broken == "keys" else {"TLS_CERT": file, "TLS_KEY": file}
    given |= {"PROCESSES": processes, "PORT": port, "BROKER_URL": NOWHERE}
    environment = {**os.environ, **{f"NOWAIT_{name}": value for name, value in given.items()}}
    command = [sys.executable, "-m", "server"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith(file)
