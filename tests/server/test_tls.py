"""The certificate of HTTPS, and files that are read again."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import pytest
import trustme
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from nowait.testing import FakeBridge
from server.app import make_app
from server.reloader import Reloader
from server.settings import Settings
from server.tls import Certificate, CertificateError
from tests.bridge.conftest import until

EC, RSA = trustme.KeyType.ECDSA, trustme.KeyType.RSA


class Files:
    """The files of a certificate."""

    def __init__(self, folder: Path) -> None:
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        self._authority = trustme.CA()
        self._context = ssl.create_default_context()
        self._authority.configure_trust(self._context)
        self.issue(EC)

    def issue(self, key_type: trustme.KeyType, days: int = 365) -> None:
        """Put another certificate in the place of the last one."""
        end = datetime.now(timezone.utc) + timedelta(days=days)
        issued = self._authority.issue_cert("127.0.0.1", not_after=end, key_type=key_type)
        issued.private_key_pem.write_to_path(str(self.key))
        self.cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))

    async def serial(self, port: int) -> str:
        """Of the certificate of a new connection."""
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=self._context)
        found = writer.get_extra_info("peercert")["serialNumber"]
        writer.close()
        return str(found)

    async def head(self, port: int, path: str) -> str:
        """Status and headers of an answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=self._context)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        found = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        return found.decode()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at all the time."""
    monkeypatch.setattr("server.reloader._INTERVAL", 0.02)


@asynccontextmanager
async def serving(certificate: Certificate) -> AsyncIterator[int]:
    """The port of a server with a certificate, which is read again when its files change."""
    http = HTTPServer(make_app(FakeBridge({}), Settings()), ssl_options=certificate.context)
    certificate.used = partial(setattr, http, "ssl_options")
    sock, port = bind_unused_port()
    http.add_socket(sock)
    reloading = asyncio.ensure_future(Reloader({"certificate": certificate}).run())
    yield port
    reloading.cancel()
    http.stop()
    await http.close_all_connections()


@pytest.mark.gen_test
@pytest.mark.parametrize(("before", "after"), [(EC, RSA), (RSA, EC), (EC, EC)])
async def test_a_certificate_takes_the_place_of_one_with_a_key_of_another_type(
    before: trustme.KeyType, after: trustme.KeyType, files: Files
) -> None:
    files.issue(before)
    async with serving(Certificate(files.cert, files.key)) as port:
        first = await files.serial(port)
        files.issue(after)
        while await files.serial(port) == first:
            await asyncio.sleep(0.05)


@pytest.mark.gen_test
async def test_who_has_been_there_by_https_comes_by_nothing_else(files: Files) -> None:
    async with serving(Certificate(files.cert, files.key)) as port:
        for path in ("/i_want_you_now", "/nothing"):
            assert "Strict-Transport-Security: max-age=31536000" in (await files.head(port, path)).splitlines()


@pytest.mark.gen_test
async def test_what_cannot_be_used_leaves_the_last_one_in_use(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Certificate(files.cert, files.key)) as port:
        first = await files.serial(port)
        files.key.write_text("none")
        await until(lambda: "the certificate is not replaced" in caplog.text)
        os.unlink(files.cert)
        await until(lambda: "No such file" in caplog.text)
        assert await files.serial(port) == first


def test_one_that_ends_soon_is_in_the_log(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    files.issue(EC, days=15)
    certificate = Certificate(files.cert, files.key)
    assert "ENDS" not in caplog.text and not certificate.changed()
    files.issue(EC, days=13)
    assert certificate.changed()
    assert Certificate(files.cert, files.key).expires < certificate.expires
    assert f"THE CERTIFICATE ENDS at {datetime.now(timezone.utc) + timedelta(days=13):%Y-%m-%d}" in caplog.text


def test_files_that_others_may_read_by_now_are_read_again(files: Files) -> None:
    certificate = Certificate(files.cert, files.key)
    files.key.chmod(0o400)
    assert certificate.changed()


@pytest.mark.gen_test
async def test_what_could_not_be_read_is_tried_again_though_no_file_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Once:
        changes = [True]
        reads = [True, False, False]

        def changed(self) -> bool:
            return bool(self.changes) and self.changes.pop()

        async def reload(self) -> bool:
            return self.reads.pop()

    monkeypatch.setattr("server.reloader._INTERVAL", 0.01)
    monkeypatch.setattr("server.reloader._RETRY", 0.05)
    source = Once()
    reloader = Reloader({"keys": source})
    running = asyncio.ensure_future(reloader.run())
    await until(lambda: not source.reads)
    await until(lambda: not reloader.failing)
    # From then on it is not.
    await asyncio.sleep(0.2)
    assert not running.done()
    running.cancel()


@pytest.mark.gen_test
async def test_all_files_are_read_again_when_that_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    class Never:
        read = 0

        def changed(self) -> bool:
            return False

        async def reload(self) -> bool:
            self.read += 1
            if self.read == 1:
                raise LookupError("whatever it is")
            return True

    sources = [Never(), Never()]
    reloader = Reloader(dict(zip("ab", sources)))
    running = asyncio.ensure_future(reloader.run())
    for count in (1, 2):
        reloader.poke()
        await until(lambda: [source.read for source in sources] == [count, count])
        assert reloader.failing == (set("ab") if count == 1 else set())
    assert caplog.text.count("not read again") == 2
    running.cancel()


def test_a_certificate_without_its_key_is_one_line(files: Files) -> None:
    files.key.write_text("none")
    with pytest.raises(CertificateError, match=r"cert\.pem, .*key\.pem: ") as caught:
        Certificate(files.cert, files.key)
    assert "\n" not in str(caught.value)


def test_a_certificate_of_no_known_version_is_one_line(files: Files) -> None:
    encoded = bytearray(ssl.PEM_cert_to_DER_cert(files.cert.read_text().partition("-----END")[0] + ssl.PEM_FOOTER))
    encoded[encoded.index(b"\xa0\x03\x02\x01\x02") + 4] = 4
    files.cert.write_text(ssl.DER_cert_to_PEM_cert(bytes(encoded)))
    with pytest.raises(CertificateError, match=r"cert\.pem, .*key\.pem: InvalidVersion$"):
        Certificate(files.cert, files.key)
