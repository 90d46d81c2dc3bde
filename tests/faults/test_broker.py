"""A broker that dies, freezes, takes no messages, or hangs up."""

import asyncio
import logging
import signal
import time

import psutil
import pytest
from celery import Celery

from deploy.local.process import listens
from tests.bridge.conftest import until
from tests.faults.conftest import Site, assert_calm, assert_whole, control, lasts, service, serving, transport
from tests.faults.figures import Figures
from tests.faults.load import Load

pytestmark = [pytest.mark.tls_in_full, pytest.mark.gen_test(timeout=1800), pytest.mark.timeout(1800)]

DETECTION = 2.5  # seconds, under load
RECOVERY = 3.0  # seconds, from the broker's return


async def test_a_broker_that_is_killed_and_comes_back(app: Celery, site: Site, scale: float, figures: Figures) -> None:
    async with serving(app, timeout=30.0, max_in_flight=10_000) as bridge:
        recoveries, full = [], []
        async with Load(bridge, timeout=30.0, idempotent=(True,), retries=True) as load:
            for _ in range(max(1, round(5 * scale))):
                await asyncio.sleep(2)
                site.broker.process.kill()
                assert await lasts(bridge, "connecting") < DETECTION
                site.broker.start()
                await until(lambda: listens(site.broker.port), 90.0)
                back = time.monotonic()
                await until(lambda: bridge.state == "connected")
                recoveries.append(time.monotonic() - back)
                await service(bridge)
                full.append(time.monotonic() - back)
            await asyncio.sleep(2)
        runs = load.runs(site.runs)
        figures.add(
            f"broker SIGKILL and restart ({transport(app)})", load, runs,
            connected=max(recoveries), worker_too=max(full), resent=bridge.statistics().resent,
        )
        assert_whole(load)
        assert load.tally.ok >= 0.999 * load.tally.attempted
        assert runs.late == 0
        assert max(recoveries) < RECOVERY


async def test_a_broker_that_freezes(app: Celery, site: Site, scale: float, figures: Figures) -> None:
    async with serving(app) as bridge:
        async with Load(bridge, timeout=2.0) as load:
            await asyncio.sleep(1)
            site.broker.process.signal(signal.SIGSTOP)
            try:
                detection = await lasts(bridge, "connecting")
                await asyncio.sleep(15 * scale or 1)
            finally:
                site.broker.process.signal(signal.SIGCONT)
            recovery = await service(bridge)
            await asyncio.sleep(2)
        await service(bridge)
        runs = load.runs(site.runs)
        figures.add(
            f"broker SIGSTOP ({transport(app)})", load, runs, detected=detection, recovered=recovery,
            slowest_refusal=load.slowest_refusal,
        )
        assert_whole(load)
        assert_calm(load, scale)
        assert detection < DETECTION
        assert recovery < RECOVERY
        assert (runs.late, runs.refused) == (0, 0)


@pytest.mark.parametrize(
    ("alarm", "limit", "usual"),
    [
        ("memory", ("set_vm_memory_high_watermark", "absolute", "1MB"), ("set_vm_memory_high_watermark", "0.4")),
        ("disk", ("set_disk_free_limit", "100000GB"), ("set_disk_free_limit", "50MB")),
    ],
)
async def test_a_broker_that_takes_no_messages(
    app: Celery,
    site: Site,
    scale: float,
    figures: Figures,
    alarm: str,
    limit: tuple[str, ...],
    usual: tuple[str, ...],
) -> None:
    async with serving(app) as bridge:
        async with Load(bridge, timeout=2.0) as load:
            await asyncio.sleep(1)
            try:
                await control(site.broker, *limit)
                await until(lambda: bridge.state == "blocked")
                await asyncio.sleep(15 * scale or 1)
                assert bridge.state == "blocked"
            finally:
                await control(site.broker, *usual)
            recovery = await service(bridge)
            await asyncio.sleep(1)
        await service(bridge)
        runs = load.runs(site.runs)
        figures.add(
            f"{alarm} alarm ({transport(app)})", load, runs, recovered=recovery, slowest_refusal=load.slowest_refusal
        )
        assert_whole(load)
        assert_calm(load, scale)
        assert recovery < RECOVERY
        assert (runs.late, runs.refused) == (0, 0)
        assert bridge.statistics().connects == 1


async def test_a_broker_that_closes_all_connections_again_and_again(
    app: Celery, site: Site, scale: float, figures: Figures, caplog: pytest.LogCaptureFixture
) -> None:
    process = psutil.Process()
    async with serving(app) as bridge:
        descriptors = process.num_fds()
        times = round(30 * scale) or 3
        async with Load(bridge, timeout=2.0) as load:
            close = (
                "[begin [catch rabbit_networking:close_connection(Connection, <<\"closed by a test\">>)"
                " || Connection <- rabbit_networking:connections()],"
                f" timer:sleep(1000) end || _ <- lists:seq(1, {times})]."
            )
            closing = asyncio.create_task(control(site.broker, "eval", close))
            # What the first connections leave in memory is there once.
            await until(lambda: bridge.statistics().connects > times // 3, 600.0)
            memory = process.memory_info().rss
            await closing
        await service(bridge)
        runs = load.runs(site.runs)
        growth = process.memory_info().rss - memory
        figures.add(
            f"all connections closed {times} times ({transport(app)})", load, runs,
            connects=bridge.statistics().connects, descriptors=f"{process.num_fds() - descriptors:+d}",
            memory=f"{growth / 1e6:+.1f} MB",
        )
        assert_whole(load)
        assert runs.late == 0
        assert bridge.statistics().connects > times
        assert process.num_fds() <= descriptors
        assert growth < 5_000_000
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
