"""Nowait's workers with threads, whose tasks come by a connection of their own: cut, refused, frozen, ended."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.local.process import Process, listens
from nowait.bridge import Call
from tests.bridge.conftest import running, until
from tests.conftest import Start, celery_worker, printed
from tests.faults.conftest import Site, assert_whole, control, lasts, service
from tests.faults.figures import Figures
from tests.faults.load import QUEUE, Load
from tests.faults.proxy import Proxy

pytestmark = [pytest.mark.gen_test(timeout=1800), pytest.mark.timeout(1800)]

LATE = pytest.mark.parametrize("acks_late", [0, 1], ids=["early", "late"])
Run = Callable[..., Awaitable[Process]]
COMMAND = "celery -A tests.celeryapp worker -n silent@tests --without-gossip --without-mingle"
EXIT = 20.0  # seconds that a worker has to end


@pytest.fixture
def run(start: Start, tmp_path: Path) -> Iterator[Run]:
    """Starts a worker of Nowait's, with threads."""
    started: list[Process] = []
    (tmp_path / "runs").touch()

    async def run(url: str, *options: str, threads: int = 8, **settings: Any) -> Process:
        pool = ("-P", "threads", "-c", str(threads), "-Q", QUEUE)
        lean = {"test_consumer": "nowait.worker:Consumer", "test_backend": "nowait.worker:Results"}
        settings |= {"broker_url": url, "test_runs": tmp_path / "runs"}
        if "WARNING" in options:
            started.append(worker := start("worker", *COMMAND.split(), *pool, *options, **lean, **settings))
            return worker
        # In a thread, as a proxy may run on the loop.
        starting = asyncio.to_thread(celery_worker, start, "tests.celeryapp", *pool, *options, **lean, **settings)
        started.append(worker := await starting)
        return worker

    yield run
    for worker in started:
        worker.kill()


async def ended(worker: Process) -> None:
    """Return once a worker that was sent SIGTERM has ended, as it should."""
    worker.signal(signal.SIGTERM)
    await until(lambda: worker.returncode is not None, EXIT)
    assert worker.returncode == 0, printed(worker)[-3000:]
    assert "Traceback" not in printed(worker), printed(worker)


@LATE
async def test_a_worker_whose_connections_are_cut_every_second(
    bare_site: Site, vhost: str, run: Run, scale: float, figures: Figures, acks_late: int,
    tmp_path: Path,
) -> None:  # fmt: skip
    times = round(60 * scale) or 5
    async with Proxy(bare_site.broker.port) as proxy, running(vhost) as bridge:
        worker = await run(vhost.replace(f":{bare_site.broker.port}", f":{proxy.port}"), test_acks_late=acks_late)
        await service(bridge)
        async with Load(bridge, timeout=30.0, idempotent=(False,)) as load:
            for _ in range(times):
                await asyncio.sleep(1)
                proxy.hang_up()
        runs = load.runs(tmp_path / "runs")
        figures.add(f"worker cut {times} times, {'late' if acks_late else 'early'}", load, runs)
        assert_whole(load)
        assert load.tally.ok == load.tally.attempted
        await service(bridge)
        await ended(worker)


async def test_what_a_worker_has_not_begun_when_it_is_ended_is_run_by_another_at_once(
    vhost: str, run: Run, scale: float, figures: Figures, tmp_path: Path
) -> None:
    first = await run(vhost, "--prefetch-multiplier", "200")
    file, gate = tmp_path / "runs", tmp_path / "gate"
    async with running(vhost, timeout=60.0) as bridge:
        gates = [os.devnull] * 392 + [str(gate)] * 608
        sent = [(f"{n}", 0.0, 0.02, wait) for n, wait in enumerate(gates)]
        calls = [bridge.send_task("test.record", arguments, queue=QUEUE) for arguments in sent]
        # The first has fetched all of them, and has one in each thread for as long as the second takes to start.
        await until(lambda: len(file.read_text().splitlines()) == 400)
        await run(vhost, threads=100)
        begun = len(file.read_text().splitlines())
        assert begun == 400
        ended = time.time()
        first.signal(signal.SIGTERM)
        gate.touch()
        assert await asyncio.gather(*calls) == [f"{n}" for n in range(1000)]
        await until(lambda: first.returncode is not None, EXIT)
        assert first.returncode == 0 and "Traceback" not in printed(first), printed(first)
        assert bridge.statistics().duplicate == 0
    runs = [line.split() for line in file.read_text().splitlines()]
    assert sorted(int(payload) for payload, *_ in runs) == list(range(1000))
    last = max(float(began) for _, began, _ in runs) - ended
    figures.remark("worker SIGTERM with 1,000 tasks", begun=begun, rest_after=last)
    assert last < (1.0 if scale else 10.0)


@LATE
async def test_replies_of_tasks_that_have_ended_outlive_a_broker_that_does_not_take_them(
    bare_site: Site, vhost: str, run: Run, scale: float, figures: Figures, acks_late: int, tmp_path: Path
) -> None:
    broker = bare_site.broker
    worker = await run(vhost, test_acks_late=acks_late)
    async with running(vhost, max_in_flight=100_000) as bridge:
        await service(bridge)
        memory = psutil.Process(worker.pid).memory_info().rss
        async with Load(bridge, timeout=60.0, idempotent=(True,), retries=True) as load:
            for _ in range(round(5 * scale) or 1):
                await asyncio.sleep(1)
                broker.process.kill()
                await lasts(bridge, "connecting")
                broker.start()
                await until(lambda: listens(broker.port), 90.0)
                await until(lambda: bridge.state == "connected")
                await service(bridge)
            await asyncio.sleep(1)
            broker.process.signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(15 * scale or 2)
            finally:
                broker.process.signal(signal.SIGCONT)
            await service(bridge)
            try:
                await control(broker, "set_vm_memory_high_watermark", "absolute", "1MB")
                await until(lambda: bridge.state == "blocked")
                await asyncio.sleep(15 * scale or 2)
            finally:
                await control(broker, "set_vm_memory_high_watermark", "0.4")
            await service(bridge)
        runs = load.runs(tmp_path / "runs")
        growth = (psutil.Process(worker.pid).memory_info().rss - memory) / 1e6
        figures.add(
            f"broker killed, frozen, full: worker's replies, {'late' if acks_late else 'early'}", load, runs,
            worker_memory=f"{growth:+.1f} MB", duplicate_replies=bridge.statistics().duplicate,
        )
        assert_whole(load)
        assert load.tally.ok == load.tally.attempted
        assert growth < 50
        await ended(worker)


@pytest.mark.gen_test(timeout=7200)
@pytest.mark.timeout(7200)
async def test_memory_and_descriptors_stay_as_they_are(
    vhost: str, run: Run, scale: float, figures: Figures
) -> None:
    seconds, rate = round(360 * scale) or 5, 1000
    worker = psutil.Process((await run(vhost, "-l", "WARNING")).pid)
    here = psutil.Process()

    def sizes() -> list[float]:
        return [worker.memory_info().rss / 1e6, worker.num_fds(), here.memory_info().rss / 1e6, here.num_fds()]

    async with running(vhost, max_in_flight=100_000, timeout=60.0) as bridge:
        await service(bridge)
        calls, wrong, started = 0, 0, time.monotonic()
        before: list[float] = []

        def answered(call: Call) -> None:
            nonlocal wrong
            wrong += call.exception() is not None or call.result() != "x" * 100

        while time.monotonic() < started + seconds:
            for _ in range(round((time.monotonic() - started) * rate) - calls):
                bridge.send_task("test.echo", ["x" * 100], queue=QUEUE).add_done_callback(answered)
                calls += 1
            # What the first tenth leaves in memory is there once.
            before = before or (sizes() if time.monotonic() > started + seconds / 10 else [])
            await asyncio.sleep(0.01)
        await until(lambda: bridge.statistics().in_flight == 0)
        growth = [after - earlier for after, earlier in zip(sizes(), before)]
    figures.remark(
        f"{seconds} s of {rate} tasks/s", calls=calls, worker=f"{growth[0]:+.1f} MB, {growth[1]:+g} descriptors",
        bridge=f"{growth[2]:+.1f} MB, {growth[3]:+g} descriptors",
    )  # fmt: skip
    assert wrong == 0 and calls >= 0.9 * seconds * rate
    assert growth[0] < 10 and growth[2] < 10
    assert growth[1] <= 0 and growth[3] <= 0
