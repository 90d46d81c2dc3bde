"""A cluster that loses the leader of its task queue."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from deploy.local.broker import Broker
from deploy.local.process import listens
from tests.bridge.conftest import until
from tests.conftest import Start, celery_worker
from tests.faults.cluster import Cluster
from tests.faults.conftest import assert_whole, serving
from tests.faults.figures import Figures
from tests.faults.load import QUEUE, Load

pytestmark = [pytest.mark.gen_test(timeout=3600), pytest.mark.timeout(3600)]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


async def test_the_leader_is_killed(
    cluster: Cluster, tmp_path: Path, start: Start, scale: float, figures: Figures
) -> None:
    file = tmp_path / "runs"
    file.touch()
    settings = {"test_runs": file, "test_queue_type": "quorum"}
    # One beside each node. A Celery worker that knows all nodes waits up to 9 seconds for those that
    # are down whenever it connects, to prepare delayed delivery, while it serves nobody.
    workers = [
        celery_worker(start, "tests.celeryapp", "-P", "threads", "-c", "4", broker_url=node.url, **settings)
        for node in cluster.nodes
    ]
    gaps = []

    async def leader() -> Broker:
        while (found := await asyncio.get_running_loop().run_in_executor(None, cluster.leader, QUEUE)) is None:
            await asyncio.sleep(0.5)
        return found

    # The bridge begins where it will be hit.
    first = cluster.nodes.index(await leader())
    app = Celery("server", broker=cluster.url(first), set_as_current=False)
    async with serving(app, timeout=30.0) as bridge:
        async with Load(bridge, timeout=30.0, idempotent=(True,), retries=True) as load:
            for _ in range(max(1, round(10 * scale))):
                node = await leader()
                load.gap = 0.0
                node.process.kill()
                await asyncio.sleep(5)
                gaps.append(load.gap)
                node.start()
                await until(lambda: listens(node.port), 90.0)
            await leader()
    runs = load.runs(file)
    for worker in workers:
        worker.stop()
    figures.add(
        f"leader of 3 nodes killed {len(gaps)} times (amqp)", load, runs, longest_gap=max(gaps),
        resent=bridge.statistics().resent, connects=bridge.statistics().connects,
    )
    assert_whole(load)
    assert load.tally.ok == load.tally.attempted
    assert runs.late == 0
    assert max(gaps) < 2.0
