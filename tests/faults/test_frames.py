"""Bytes that come in pieces, or only in part."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import kombu
import pytest
from celery import Celery

from tests.bridge.conftest import until
from tests.faults.conftest import Site, assert_calm, assert_whole, lasts, service, serving, transport
from tests.faults.figures import Figures
from tests.faults.load import QUEUE, Load
from tests.faults.proxy import Proxy

pytestmark = [pytest.mark.gen_test(timeout=600), pytest.mark.timeout(600)]


@asynccontextmanager
async def proxied(app: Celery, site: Site) -> AsyncIterator[Proxy]:
    """A proxy in front of the broker; the application goes through it."""
    async with Proxy(site.tls_port if transport(app) == "amqps" else site.broker.port) as proxy:
        app.conf.broker_url = f"{transport(app)}://guest:guest@127.0.0.1:{proxy.port}//"
        yield proxy


async def test_frames_that_are_cut_at_every_offset(app: Celery, site: Site, scale: float, figures: Figures) -> None:
    async with proxied(app, site) as proxy, serving(app) as bridge:
        proxy.longest = 0
        for number in range(20):
            await bridge.send_task("test.echo", [number], queue=QUEUE)
        async with Load(bridge) as load:
            for offset in range(1, proxy.longest + 1):
                proxy.cut = offset
                value = {"cut at": offset}
                assert await bridge.send_task("test.echo", [value], queue=QUEUE) == value
        figures.add(
            f"frames cut at each of {proxy.longest} offsets ({transport(app)})", load, load.runs(site.runs)
        )
        assert_whole(load)
        assert load.tally.ok == load.tally.attempted
        assert (bridge.statistics().connects, bridge.statistics().malformed) == (1, 0)


async def test_a_part_of_a_frame_and_then_silence(app: Celery, site: Site, scale: float, figures: Figures) -> None:
    async with proxied(app, site) as proxy, serving(app) as bridge:
        detections = []
        async with Load(bridge, timeout=4.0) as load:
            for offset in (1, 6, 7, 40, 100) if scale else (6,):
                await asyncio.sleep(1)
                proxy.stall(offset)
                await until(lambda: proxy.stalled)
                detections.append(await lasts(bridge, "connecting"))
                proxy.accept()
                await service(bridge)
        await service(bridge)
        runs = load.runs(site.runs)
        figures.add(f"part of a frame, then silence ({transport(app)})", load, runs, detected=max(detections))
        assert_whole(load)
        assert_calm(load, scale)
        assert max(detections) < 2.5
        assert runs.late == 0


async def test_replies_that_come_while_the_server_is_away_all_arrive(app: Celery, site: Site) -> None:
    with kombu.Connection(site.broker.url) as connection:
        queue = kombu.Queue("away", channel=connection.default_channel, durable=False, auto_delete=False)
        queue.queue_declare()
        async with proxied(app, site) as proxy, serving(app) as bridge:
            calls = [bridge.send_task("test.echo", [number], queue="away") for number in range(500)]
            await until(lambda: bridge.statistics().unconfirmed == 0)
            proxy.hang_up(refuse=True)
            await until(lambda: bridge.state == "connecting")
            producer = connection.Producer(serializer="json")
            while (message := queue.get(no_ack=True)) is not None:
                producer.publish(
                    {"status": "SUCCESS", "result": message.payload[0][0]},
                    routing_key=message.properties["reply_to"],
                    correlation_id=message.properties["correlation_id"],
                )
            assert not any(call.done() for call in calls)
            proxy.accept()
            assert await asyncio.gather(*calls) == list(range(500))
            assert bridge.statistics().resent == 0
        queue.delete()
