"""No fault at all: many calls, each with an answer of its own."""

import psutil
import pytest
from celery import Celery

from tests.bridge.conftest import until
from tests.faults.conftest import Site, assert_whole, serving, transport
from tests.faults.figures import Figures
from tests.faults.load import Load

pytestmark = [pytest.mark.tls_in_full, pytest.mark.gen_test(timeout=36000), pytest.mark.timeout(36000)]


async def test_every_caller_gets_its_own_answer_and_nothing_grows(
    app: Celery, site: Site, scale: float, figures: Figures
) -> None:
    process = psutil.Process()
    calls = round(100_000 * scale) or 2_000
    if transport(app) == "amqps":
        calls //= 10
    async with serving(app) as bridge:
        async with Load(bridge, rate=250.0, timeout=30.0) as load:
            await until(lambda: load.tally.attempted >= calls * 0.2, 36000)
            memory, descriptors = process.memory_info().rss, process.num_fds()
            await until(lambda: load.tally.attempted >= calls, 36000)
            growth, more = process.memory_info().rss - memory, process.num_fds() - descriptors
        runs = load.runs(site.runs)
        figures.add(
            f"none ({transport(app)})", load, runs, memory=f"{growth / 1e6:+.1f} MB", descriptors=f"{more:+d}"
        )
        assert_whole(load)
        assert load.tally.ok == load.tally.attempted == len(runs.times)
        assert runs.duplicated == 0
        assert growth < 5_000_000
        assert more <= 0
        strays = bridge.statistics()
        assert (strays.late, strays.duplicate, strays.unknown, strays.malformed) == (0, 0, 0, 0)
