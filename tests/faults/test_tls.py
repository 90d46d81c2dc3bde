"""Certificates that are not the broker's."""

from pathlib import Path

import pytest
import trustme
from celery import Celery

from deploy.local.process import free_port
from nowait.bridge import Bridge
from tests.bridge.conftest import until
from tests.conftest import Start, ready
from tests.faults.conftest import Site

pytestmark = pytest.mark.gen_test


async def refusal(app: Celery, caplog: pytest.LogCaptureFixture) -> str:
    """What the log says of a bridge that cannot connect."""
    bridge = Bridge(app)
    await bridge.start()
    try:
        await until(lambda: bool(caplog.messages))
        assert bridge.state == "connecting"
    finally:
        await bridge.stop(drain=0)
    assert "guest:guest" not in caplog.text
    return caplog.messages[0]


async def test_a_certificate_of_another_host_is_refused(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    said = await refusal(site.app("amqps", host="localhost"), caplog)
    assert "Hostname mismatch, certificate is not valid for 'localhost'" in said


async def test_the_host_is_checked_behind_every_url(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    app = site.app("amqps")
    app.conf.broker_url = f"amqps://guest:guest@127.0.0.1:1//;{site.app('amqps', host='localhost').conf.broker_url}"
    bridge = Bridge(app)
    await bridge.start()
    try:
        await until(lambda: len(caplog.messages) >= 4)
    finally:
        await bridge.stop(drain=0)
    assert sum("Hostname mismatch" in message for message in caplog.messages) >= 2


async def test_a_certificate_of_another_authority_is_refused(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    assert "certificate verify failed" in await refusal(site.app("amqps", ca=other), caplog)


async def test_an_url_alone_trusts_nobody_but_the_machines_authorities(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    url = site.app("amqps").conf.broker_url
    said = await refusal(Celery("server", broker=url, set_as_current=False), caplog)
    assert "certificate verify failed" in said


def test_a_server_trusts_the_authority_that_its_environment_names(
    site: Site, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(site.ca))
    port = free_port()
    url = str(site.app("amqps").conf.broker_url)
    server = start("server", "server", port=port, broker_url=url)
    assert ready(server, port)
    server.stop()
