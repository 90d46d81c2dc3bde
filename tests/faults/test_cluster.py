"""A cluster that loses the leader of its task queue."""

import asyncio
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from deploy.local.broker import Broker
from deploy.local.process import listens
from tests import programs
from tests.bridge.conftest import until
from tests.conftest import ROOT, Start, celery_worker
from tests.faults.clients import Clients
from tests.faults.cluster import Cluster
from tests.faults.conftest import assert_whole, serving
from tests.faults.deployment import stand_in
from tests.faults.figures import Figures
from tests.faults.jobs import clients
from tests.faults.jobs.invariants import broken, tally
from tests.faults.jobs.stack import Stack
from tests.faults.load import QUEUE, Load
from tests.http import fetch

pytestmark = [pytest.mark.gen_test(timeout=3600), pytest.mark.timeout(3600)]


PASSWORDS = {"server": "change-me-1", "worker": "change-me-2"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The nodes, whole after each test."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


async def leader(cluster: Cluster, queue: str, vhost: str = "/") -> Broker:
    """The leader of a queue, once all nodes take part."""
    loop = asyncio.get_running_loop()
    while (found := await loop.run_in_executor(None, cluster.leader, queue, vhost)) is None:
        await asyncio.sleep(0.5)
    return found


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
    # The bridge begins where it will be hit.
    first = cluster.nodes.index(await leader(cluster, QUEUE))
    app = Celery("server", broker=cluster.url(first), set_as_current=False)
    async with serving(app, timeout=30.0) as bridge:
        async with Load(bridge, timeout=30.0, idempotent=(True,), retries=True) as load:
            for _ in range(max(1, round(10 * scale))):
                node = await leader(cluster, QUEUE)
                load.gap = 0.0
                node.process.kill()
                await asyncio.sleep(5)
                gaps.append(load.gap)
                node.start()
                await until(lambda: listens(node.port), 90.0)
            await leader(cluster, QUEUE)
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


class ClusteredStack(Stack):
    """Servers and workers, each beginning with another node, on a cluster that its administrator's script set up."""

    worker_options = "-P threads -c 8 -I tests.faults.jobs.functions".split()

    def __init__(self, cluster: Cluster, folder: Path, start: Start) -> None:
        super().__init__(folder, start, workers=3, settings={"topology": "clustered"})
        self._cluster = cluster
        self._programs = folder / "programs"
        self._begun = 0

    def broker_url(self, user: str) -> str:
        url = self._cluster.url(self._begun % len(self._cluster.nodes))
        self._begun += 1
        return url.replace("guest:guest@", f"{user}:{PASSWORDS[user]}@").replace("//;", "/nowait;")[:-2] + "/nowait"

    def _begin_services(self) -> None:
        node = self._cluster.nodes[0]
        self._programs.mkdir()
        stand_in(self._programs / "rabbitmqctl", programs.path("rabbitmqctl"), environment=node.environment())
        passwords = {f"{user.upper()}_PASSWORD": password for user, password in PASSWORDS.items()}
        environment = {**os.environ, **passwords, "CLUSTER": "1", "PATH": f"{self._programs}:{os.environ['PATH']}"}
        subprocess.run(["sh", str(ROOT / "deploy/broker/setup.sh")], env=environment, check=True, timeout=120)
        # The script removes it; the other test uses it.
        node.control("add_user", "guest", "guest")
        node.control("set_permissions", "guest", ".*", ".*", ".*")
        self._begin_database()


async def test_tasks_and_jobs_go_on_while_nodes_are_killed(
    cluster: Cluster, tmp_path: Path, start: Start, scale: float, figures: Figures
) -> None:
    stack = ClusteredStack(cluster, tmp_path, start)
    kills = max(1, round(10 * scale))

    async def kill() -> None:
        for _ in range(kills):
            node = await leader(cluster, "queries.jobs", "nowait")
            node.process.kill()
            await asyncio.sleep(5)
            node.start()
            await until(lambda: listens(node.port), 90.0)
        await leader(cluster, "queries.jobs", "nowait")

    try:
        await stack.begin(proxied=False)
        await until(lambda: fetch(f"{stack.urls[0]}/queries").status == 200, 60.0)
        jobs = clients.Clients(stack.urls, seed := random.randrange(2**32), rate=20.0)
        tasks = Clients(stack.urls[0], "/mysql_query/1", rate=20.0)
        async with tasks.load():
            asked = await jobs.run(100, asyncio.ensure_future(kill()))
        await until(lambda: stack.journal.unfinished() == 0, 180.0)
        books = stack.journal.read()
        event = fetch(f"{stack.urls[1]}/topics/news", "POST", {"Content-Type": "application/json"}, b"{}")
    finally:
        await stack.end()
    figures.remark(
        f"{asked} jobs and {sum(tasks.statuses.values())} tasks, leader of 3 nodes killed {kills} times, seed {seed}",
        **tally(books), posts=jobs.statuses, tasks=tasks.statuses, slowest_task=tasks.slowest,
    )  # fmt: skip
    assert broken(books, jobs.answers) == []
    # 503 is honest: that task was not run.
    assert tasks.statuses[200] > 0 and set(tasks.statuses) <= {200, 503}
    # The log of the topics is there, too.
    assert event.status == 202
