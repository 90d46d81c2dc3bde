"""Servers, workers, broker and database on hosts of their own, set up as docs/deploying.md describes."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.bridge.conftest import until
from tests.faults.clients import Clients
from tests.faults.deployment import Deployment
from tests.faults.figures import Figures
from tests.faults.hosts import Host

pytestmark = [
    pytest.mark.gen_test(timeout=900),
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

PATHS = ("/mysql_query/1", "/queries/count_users")


def connections(deployment: Deployment, host: Host) -> int:
    """How many connections to the database a host has."""
    database = deployment.hosts["database"]
    address = deployment.network.address(host.name)
    question = f"SELECT COUNT(*) FROM information_schema.processlist WHERE host LIKE '{address}:%'"
    command = database.command(str(database.programs / "mariadb"), "--skip-column-names", "-e", question)
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@asynccontextmanager
async def load(deployment: Deployment) -> AsyncIterator[Clients]:
    """Clients that ask through the balancer for as long as the block lasts, and have all answers behind it."""
    with deployment.network.inside("balancer"):
        clients = Clients("http://127.0.0.1", *PATHS)
        assert await clients.get("/queries") == 200
        async with clients.load():
            yield clients


async def test_each_host_has_its_own_part_alone(deployment: Deployment) -> None:
    database, server, workers = deployment.hosts["database"], deployment.server, deployment.workers
    for host, folder, mine, others in (
        (database, "nowait-migrate", {"nowait", "alembic"}, {"server", "tasks", "tornado", "aiomysql", "aiosql"}),
        (server, "nowait", {"server", "tornado", "aiomysql"}, {"tasks", "aiosql", "alembic"}),
        *((worker, "nowait", {"tasks", "aiosql"}, {"server", "tornado", "aiomysql", "alembic"}) for worker in workers),
    ):
        (packages,) = (host.folder / "opt" / folder).glob("lib/python*/site-packages")
        there = {path.name.lower() for path in packages.iterdir()}
        assert mine <= there
        assert not others & there


async def test_both_workers_serve_and_one_takes_over_when_the_other_is_cut_off(
    deployment: Deployment, scale: float, figures: Figures
) -> None:
    async with load(deployment) as clients:
        await until(lambda: clients.statuses[200] > 100)
        assert all([connections(deployment, worker) for worker in deployment.workers])
        deployment.network.cut("worker2")
        await asyncio.sleep(60 * scale or 5)
        deployment.network.mend("worker2")
        await asyncio.sleep(2)
    figures.remark("a worker host cut off", answers=clients.statuses, slowest=clients.slowest)
    # Those that it had are answered, too: the broker takes them back when it hears nothing any more.
    assert set(clients.statuses) == {200}, (clients.statuses, clients.slowest)


async def test_a_rolling_restart_of_everything_fails_no_request(
    deployment: Deployment, scale: float, figures: Figures
) -> None:
    async with load(deployment) as clients:
        await asyncio.sleep(1)
        for _ in range(round(10 * scale) or 1):
            for host in (*deployment.workers, deployment.server):
                for unit in host.units:
                    await deployment.apart(unit.restart)
                    # The balancer asks twice a second who is ready.
                    await asyncio.sleep(1.5)
    figures.remark(
        "rolling restart", times=round(10 * scale) or 1, answers=clients.statuses, slowest=clients.slowest
    )
    assert set(clients.statuses) == {200}, clients.statuses
    for host in (*deployment.workers, deployment.server):
        for unit in host.units:
            await until(lambda: "WATCHDOG=1" in unit.listen())


async def test_a_worker_that_is_killed_hands_on_its_tasks_at_once(deployment: Deployment, figures: Figures) -> None:
    unit = deployment.workers[1].units[0]
    async with load(deployment) as clients:
        await until(lambda: clients.statuses[200] > 40)
        unit.process.kill()
        await asyncio.sleep(3)
        await deployment.apart(unit.start)
        await deployment.apart(unit.ready)
    figures.remark("a whole worker killed", answers=clients.statuses, slowest=clients.slowest)
    assert set(clients.statuses) == {200}, clients.statuses
    assert clients.slowest < 5
