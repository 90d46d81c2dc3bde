"""What must not run twice does not, along the whole chain; what waits in a queue is not put there again."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
from celery import Celery
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from deploy.local.broker import Broker
from deploy.local.process import Process, free_port
from deploy.local.services import Services
from tests import balancer
from tests.bridge.conftest import until
from tests.conftest import Start, celery_worker, connect, ready, services_settings
from tests.faults.conftest import Site, control, serving
from tests.faults.figures import Figures
from tests.faults.load import QUEUE
from tests.faults.proxy import Proxy

pytestmark = [pytest.mark.gen_test(timeout=300), pytest.mark.timeout(300)]

# Neither a transaction nor its end has any effect on such a table: each run is noted.
TABLE = "CREATE OR REPLACE TABLE runs (request INT) ENGINE=MyISAM"
ONCE = "INSERT INTO runs (request) VALUES (:request) RETURNING request, SLEEP(0.05) AS slept"


async def test_calls_that_wait_in_the_queue_run_once_however_often_the_connection_is_cut(
    site: Site, scale: float, figures: Figures
) -> None:
    count = round(500 * scale) or 100
    name = f"queued-{random.randrange(10**9)}"
    async with Proxy(site.broker.port) as proxy:
        app = Celery("server", broker=f"amqp://guest:guest@127.0.0.1:{proxy.port}//", set_as_current=False)
        async with serving(app) as bridge:
            # The workers are busy, so that everything else waits.
            busy = [bridge.send_task("test.sleep", [8.0], queue=QUEUE, timeout=120) for _ in range(4)]
            calls = [
                bridge.send_task("test.record", [f"{name}-{number}", 0], queue=QUEUE, timeout=120, idempotent=True)
                for number in range(count)
            ]
            await until(lambda: bridge.statistics().unconfirmed == 0)
            for cut in range(10):
                connects = bridge.statistics().connects
                proxy.hang_up()
                await until(lambda: bridge.statistics().connects > connects and bridge.state == "connected")
            resent = bridge.statistics().resent
            assert await asyncio.gather(*calls) == [f"{name}-{number}" for number in range(count)]
            await asyncio.gather(*busy)
    runs = [line for line in site.runs.read_text().splitlines() if line.startswith(name)]
    figures.remark("connection cut 10 times, calls queued", calls=count, runs=len(runs), resent=resent)
    assert (len(runs), resent) == (count, 0)


@pytest.fixture
def runs(services: Services) -> Iterator["pymysql.Connection[Any]"]:
    """A connection to the database, which has an empty table `runs`."""
    with connect(services.database_url) as connection, connection.cursor() as cursor:
        cursor.execute(TABLE)
        yield connection
        cursor.execute("DROP TABLE runs")


async def test_a_query_that_must_not_run_twice_does_not_behind_a_balancer_whatever_is_killed(
    vhost: str, private_broker: Broker, services: Services, start: Start, tmp_path: Path, scale: float,
    runs: "pymysql.Connection[Any]", figures: Figures,
) -> None:  # fmt: skip
    count = round(1000 * scale) or 300
    (tmp_path / "once.sql").write_text(ONCE)
    (tmp_path / "once.toml").write_text("[once]\nrepeatable = false\n[once.parameters.request]\ntype = 'integer'\n")
    settings = {**services_settings(services), "broker_url": vhost, "queries": tmp_path}
    ports = [free_port(), free_port()]

    def worker(_: int) -> Process:
        return celery_worker(start, "tasks", "-P", "threads", "-c", "8", **settings)

    def server(number: int) -> Process:
        process = start("server", "server", port=ports[number], broker_url=vhost)
        ready(process, ports[number])
        return process

    workers, servers = [worker(0), worker(1)], [server(0), server(1)]
    balancer, url = balance(tmp_path, ports)
    client: AsyncHTTPClient = SimpleAsyncHTTPClient(force_instance=True, max_clients=100)
    statuses: Counter[int] = Counter()
    numbers = iter(range(count))

    async def ask() -> None:
        for number in numbers:
            request = HTTPRequest(
                f"{url}/queries/once", "POST", {"Content-Type": "application/json"},
                f'{{"request": {number}}}', request_timeout=60,
            )  # fmt: skip
            statuses[(await client.fetch(request, raise_error=False)).code] += 1
            await asyncio.sleep(0.1)

    loop = asyncio.get_running_loop()
    asking = asyncio.gather(*(ask() for _ in range(30)))
    try:
        await until(lambda: statuses.total() > count // 20)
        for kind, processes in ((worker, workers), (server, servers)):
            for number in range(2):
                os.kill(processes[number].pid, signal.SIGKILL)
                await until(lambda: processes[number].returncode is not None)
                processes[number] = await loop.run_in_executor(None, kind, number)
        await control(private_broker, "close_all_connections", "--vhost", vhost.rpartition("/")[2], "cut")
        await asking
    finally:
        balancer.stop()
        for process in (*servers, *workers):
            process.stop()
    with runs.cursor() as cursor:
        cursor.execute("SELECT COUNT(*), COUNT(DISTINCT request) FROM runs")
        ran, distinct = cursor.fetchone()
    figures.remark("behind the balancer, not repeatable", requests=count, ran=ran, distinct=distinct, answers=statuses)
    assert ran == distinct
    assert statuses.total() == count and statuses[200] <= distinct


def balance(folder: Path, ports: list[int]) -> tuple[Process, str]:
    """HAProxy with the project's own configuration in front of servers on these ports."""
    process, port = balancer.begin(folder, ports)
    return process, ready(process, port)
