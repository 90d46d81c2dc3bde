"""A network that swallows everything, without a word to either side."""

import asyncio
import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from celery import Celery

from deploy.local.broker import Broker
from tests.conftest import Start, celery_worker
from tests.faults.conftest import assert_calm, assert_whole, lasts, service, serving
from tests.faults.figures import Figures
from tests.faults.load import Load
from tests.faults.network import Network

pytestmark = [
    pytest.mark.gen_test(timeout=600),
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]


async def test_a_black_hole(tmp_path: Path, start: Start, scale: float, figures: Figures) -> None:
    file = tmp_path / "runs"
    file.touch()
    broker = Broker(tmp_path / "broker", address="0.0.0.0", config="loopback_users = none\n")
    with Network("client", "broker") as network, ExitStack() as stack:
        with network.inside("broker"):
            stack.callback(broker.stop)
            broker.start()
            broker.wait_ready()
            worker = celery_worker(
                start, "tests.celeryapp", "-P", "threads", "-c", "8", broker_url=broker.url, test_runs=file
            )
            stack.callback(worker.stop)
        with network.inside("client"):
            url = f"amqp://guest:guest@{network.address('broker')}:{broker.port}//"
            app = Celery("server", broker=url, set_as_current=False)
            async with serving(app) as bridge:
                network.cut("client", "broker")
                idle = await lasts(bridge, "connecting")
                network.mend("client", "broker")
                await service(bridge)
                async with Load(bridge, timeout=2.0) as load:
                    await asyncio.sleep(1)
                    network.cut("client", "broker")
                    loaded = await lasts(bridge, "connecting")
                    await asyncio.sleep(15 * scale or 3)
                    network.mend("client", "broker")
                    recovery = await lasts(bridge, "connected")
                    await asyncio.sleep(2)
                await service(bridge)
        runs = load.runs(file)
        figures.add(
            "black hole (amqp)", load, runs, detected=loaded, detected_idle=idle, recovered=recovery,
            slowest_refusal=load.slowest_refusal,
        )
        assert_whole(load)
        assert_calm(load, scale)
        assert loaded < 2.5
        assert idle < 10.0
        assert recovery < 3.0
        assert (runs.late, runs.refused) == (0, 0)
