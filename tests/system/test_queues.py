"""Separate queues: slow queries, however many, delay no fast ones."""

from pathlib import Path

import pytest

from deploy.local.process import free_port
from deploy.local.services import Services
from tests.conftest import Start, celery_worker, ready, services_settings
from tests.system.conftest import Volley, soon

SLOW = """\
[slow]
queue = "queries.slow"
coalesce = false
[slow.parameters.delay]
type = "number"
"""


@pytest.mark.gen_test
async def test_a_full_queue_of_slow_queries_delays_no_fast_one_from_a_cold_start_too(
    vhost: str, services: Services, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "slow.sql").write_text("SELECT SLEEP(:delay) AS slept")
    (tmp_path / "slow.toml").write_text(SLOW)
    (tmp_path / "fast.sql").write_text("SELECT 1 AS one")
    (tmp_path / "fast.toml").write_text('[fast]\nqueue = "queries.fast"\ncoalesce = false')
    settings = {**services_settings(services), "broker_url": vhost, "queries": tmp_path}
    workers = [
        celery_worker(start, "tasks", "-P", "threads", "-c", "2", "-Q", queues, **settings)
        for queues in ("queries.slow", "queries.fast")
    ]
    servers, urls = [], []
    for _ in range(2):
        port = free_port()
        servers.append(start("server", "server", port=port, broker_url=vhost))
        urls.append(ready(servers[-1], port))

    volley = Volley()
    volley.send(f"{urls[0]}/queries/slow?delay=1", times=12)
    await soon(lambda: len(volley.done) >= 1)
    # The second server has to fetch the list of queries first.
    for url in urls:
        volley.send(f"{url}/queries/fast", times=20)
    await soon(lambda: sum(requested.endswith("/fast") for requested, _ in volley.done) == 40)
    # Two at a time, the slow ones are far from done.
    assert sum("slow" in requested for requested, _ in volley.done) < 10
    assert [answer.status for _, answer in await volley.all()] == [200] * 52
    for process in (*servers, *workers):
        process.kill()
