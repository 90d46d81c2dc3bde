"""Queues that are deleted behind everybody's back."""

import asyncio
import time

import kombu
import pytest
from celery import Celery

from tests.faults.conftest import Site, assert_whole, control, service, serving, transport
from tests.faults.figures import Figures
from tests.faults.load import QUEUE, Load

pytestmark = [pytest.mark.gen_test(timeout=600), pytest.mark.timeout(600)]

RECOVERY = 2.0  # seconds


def delete(site: Site, *names: str) -> None:
    with kombu.Connection(site.broker.url) as connection:
        for name in names:
            connection.default_channel.queue_delete(name)


async def test_the_reply_queue_is_deleted(app: Celery, site: Site, scale: float, figures: Figures) -> None:
    async with serving(app) as bridge:
        names = (await control(site.broker, "list_queues", "name", "--no-table-headers")).split()
        async with Load(bridge, timeout=5.0) as load:
            await asyncio.sleep(1)
            recoveries = []
            for _ in range(max(1, round(5 * scale))):
                connects = bridge.statistics().connects
                deleted = time.monotonic()
                delete(site, *(name for name in names if name.startswith("nowait.replies.")))
                await service(bridge)
                recoveries.append(time.monotonic() - deleted)
                assert bridge.statistics().connects == connects + 1
                await asyncio.sleep(1)
        runs = load.runs(site.runs)
        figures.add(f"reply queue deleted ({transport(app)})", load, runs, recovered=max(recoveries))
        assert_whole(load)
        assert max(recoveries) < RECOVERY
        assert runs.late == 0


async def test_the_task_queue_is_deleted(app: Celery, site: Site, scale: float, figures: Figures) -> None:
    async with serving(app) as bridge:
        async with Load(bridge, timeout=5.0) as load:
            await asyncio.sleep(1)
            recoveries = []
            for _ in range(max(1, round(5 * scale))):
                deleted = time.monotonic()
                delete(site, QUEUE)
                await service(bridge)
                recoveries.append(time.monotonic() - deleted)
                await asyncio.sleep(1)
        runs = load.runs(site.runs)
        figures.add(f"task queue deleted ({transport(app)})", load, runs, recovered=max(recoveries))
        assert_whole(load)
        assert max(recoveries) < RECOVERY
        assert (runs.late, runs.refused) == (0, 0)
        assert bridge.statistics().connects == 1
