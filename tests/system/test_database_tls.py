"""`?tls=1`, wherever a database URL is read, with a database that takes nothing else."""

from collections.abc import Awaitable, Callable

import pytest

from deploy.local import sample
from deploy.local.process import free_port
from deploy.local.services import Services
from server.comparison import Comparison
from tasks.database import make_engine
from tests.conftest import Start, celery_worker, ready, services_settings
from tests.http import fetch
from tests.system.test_stack import VARIANTS


def test_all_routes_answer_with_the_same_bytes(trusted: str, vhost: str, services: Services, start: Start) -> None:
    settings = {**services_settings(services), "broker_url": vhost, "database_url": trusted}
    port = free_port()
    processes = [
        celery_worker(start, "tasks", "-P", "threads", "-c", "2", **settings),
        start("server", "server", port=port, demo=1, **settings),
    ]
    url = ready(processes[1], port)
    answers = [fetch(f"{url}{variant}/mysql_query/1") for variant in VARIANTS]
    assert [answer.status for answer in answers] == [200] * len(VARIANTS)
    assert len({answer.body for answer in answers}) == 1
    for process in processes:
        process.stop()


def test_the_sample_data_is_loaded_with_tls(trusted: str) -> None:
    assert sample.load(trusted) is False  # it is there


async def _blocking(url: str) -> None:
    comparison = Comparison(url)
    try:
        await comparison.blocking(1, 0)
    finally:
        await comparison.close()


async def _aiomysql(url: str) -> None:
    comparison = Comparison(url)
    try:
        await comparison.aiomysql(1, 0)
    finally:
        await comparison.close()


async def _asyncmy(url: str) -> None:
    comparison = Comparison(url)
    try:
        await comparison.asyncmy(1, 0)
    finally:
        await comparison.close()


async def _worker(url: str) -> None:
    make_engine(url).connect()


async def _sample(url: str) -> None:
    sample.load(url)


async def refusal(connect: Callable[[str], Awaitable[None]], url: str) -> str:
    """The text of what connecting raises, and of what that was raised from."""
    with pytest.raises(Exception) as caught:
        await connect(url)
    texts: list[str] = []
    error: BaseException | None = caught.value
    while error is not None:
        texts.append(str(error))
        error = error.__cause__ or error.__context__
    return "; ".join(texts)


ALL = pytest.mark.parametrize("connect", [_blocking, _aiomysql, _asyncmy, _worker, _sample])


@pytest.mark.gen_test
@ALL
async def test_a_certificate_of_another_host_is_refused(
    trusted: str, connect: Callable[[str], Awaitable[None]]
) -> None:
    error = await refusal(connect, trusted.replace("127.0.0.1", "localhost"))
    assert "certificate is not valid for 'localhost'" in error


@pytest.mark.gen_test
@ALL
async def test_a_certificate_of_another_authority_is_refused(
    trusted: str, monkeypatch: pytest.MonkeyPatch, connect: Callable[[str], Awaitable[None]]
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "certificate verify failed" in await refusal(connect, trusted)
