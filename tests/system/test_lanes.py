"""Lanes: slow queries, however many, delay no fast ones."""

from pathlib import Path

import pytest

from deploy.local.process import free_port
from deploy.local.services import Services
from tests.conftest import Start, celery_worker, ready, services_settings
from tests.system.conftest import Volley, fetch, soon

SLOW = """\
[slow]
queue = "queries.slow"
[slow.parameters.delay]
type = "number"
"""


@pytest.mark.gen_test
async def test_a_saturated_slow_lane_does_not_delay_the_fast_one(
    vhost: str, services: Services, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "slow.sql").write_text("SELECT SLEEP(:delay) AS slept")
    (tmp_path / "slow.toml").write_text(SLOW)
    (tmp_path / "fast.sql").write_text("SELECT 1 AS one")
    (tmp_path / "fast.toml").write_text('[fast]\nqueue = "queries.fast"')
    settings = {**services_settings(services), "broker_url": vhost, "queries": tmp_path}
    workers = [
        celery_worker(start, "tasks", "-P", "threads", "-c", "2", "-Q", lanes, **settings)
        for lanes in ("queries.slow", "queries,queries.fast")
    ]
    port = free_port()
    server = start("server", "server", port=port, broker_url=vhost)
    url = ready(server, port)
    assert len(fetch(f"{url}/queries").json()["queries"]) == 2

    volley = Volley()
    volley.send(f"{url}/queries/slow?delay=1", times=12)
    await soon(lambda: len(volley.done) >= 1)
    volley.send(f"{url}/queries/fast", times=20)
    await soon(lambda: sum(requested.endswith("/fast") for requested, _ in volley.done) == 20)
    # Two at a time, the slow ones are far from done.
    assert sum("slow" in requested for requested, _ in volley.done) < 10
    assert [answer.status for _, answer in await volley.all()] == [200] * 32
    for process in (server, *workers):
        process.kill()
