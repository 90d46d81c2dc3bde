"""The workers' tasks in every pool."""

import asyncio
from typing import Any

import psutil
import pytest

from deploy.local.services import Services
from nowait.database_url import DatabaseUrl
from nowait.errors import DeadlineExceeded, TaskFailed
from tests.bridge.conftest import running, until
from tests.conftest import Start, celery_worker, services_settings

QUEUE = "queries"


def database_connections(pid: int, port: int) -> list[int]:
    """How many connections to the database each process of a worker has, the main one first."""
    main = psutil.Process(pid)
    counts = []
    for process in (main, *main.children(recursive=True)):
        connections = process.net_connections("tcp")
        counts.append(sum(1 for found in connections if found.raddr and found.raddr[1] == port))
    return counts


@pytest.mark.gen_test(timeout=110)
@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent", "solo"])
async def test_a_pool_serves_all_queries(vhost: str, services: Services, start: Start, pool: str) -> None:
    concurrency = 1 if pool == "solo" else 4
    settings: dict[str, Any] = {**services_settings(services), "broker_url": vhost}
    worker = celery_worker(start, "tasks", "-P", pool, "-c", str(concurrency), **settings)
    async with running(vhost) as bridge:

        def ask(name: str, *args: Any, queue: str = QUEUE, timeout: float = 60) -> Any:
            return bridge.send_task(f"task.{name}", list(args), queue=queue, timeout=timeout)

        assert {query["name"] for query in await ask("list_queries")} == {"users", "count_users"}
        rows = await ask("query_users", 1)
        assert len(rows) == 10
        assert await ask("run_query", "users", {"flag": 1}) == rows
        assert len(await ask("query_users", 9)) == 6119
        assert (await ask("run_query", "count_users", {}, queue="queries.fast"))[1] == {"flag": 1, "users": 10}
        for name, parameters, exception in (
            ("nobody", {}, "UnknownQuery"),
            ("users", {"flag": -1}, "BadParameters"),
            ("users", {"flag": "1 OR 1=1"}, "BadParameters"),
        ):
            with pytest.raises(TaskFailed) as caught:
                await ask("run_query", name, parameters)
            assert caught.value.exception == exception
        # The statement ends with its call, so that the next one has its place.
        late = [ask("query_users", 1, 30, timeout=1) for _ in range(concurrency)]
        for call in late:
            with pytest.raises(DeadlineExceeded):
                await call
        several = await asyncio.gather(*(ask("query_users", 1, 0.2) for _ in range(3 * concurrency)))
        assert several == [rows] * (3 * concurrency)
        port = DatabaseUrl.parse(services.database_url).port
        main, *children = database_connections(worker.pid, port)
        assert main <= concurrency
        assert all(count <= 1 for count in children)
        assert main + sum(children) >= 1
        await until(lambda: bridge.statistics().in_flight == 0)
    worker.kill()
