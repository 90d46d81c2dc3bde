"""Workers, stock ones and Nowait's: every pool, and the oldest and the newest Celery that the library is for."""

import asyncio
import sys

import pytest

from nowait.bridge import Progress
from nowait.errors import TaskFailed
from nowait.messages.encoded import Encoded
from tests.bridge.conftest import running
from tests.conftest import ROOT, Start, celery_worker

QUEUE = "tests"
KINDS = {"stock": {}, "nowait": {"test_consumer": "nowait.worker:Consumer", "test_backend": "nowait.worker:Results"}}
PYTHONS = {"newest": sys.executable, "5.3": str(ROOT / ".venv/celery-5.3/bin/python")}  # `make test` makes it


@pytest.mark.gen_test
# With gevent, Celery acknowledges only when the next message comes, or after 2 seconds: it needs
# room for more messages than one test sends.
@pytest.mark.parametrize(("pool", "concurrency"), [("prefork", 2), ("threads", 2), ("gevent", 100), ("solo", 1)])
@pytest.mark.parametrize("celery", list(PYTHONS))
@pytest.mark.parametrize("kind", list(KINDS))
async def test_a_worker_serves_the_bridge(
    vhost: str, start: Start, kind: str, celery: str, pool: str, concurrency: int
) -> None:
    options = ("-P", pool, "-c", str(concurrency))
    worker = celery_worker(start, "tests.celeryapp", *options, python=PYTHONS[celery], broker_url=vhost, **KINDS[kind])
    try:
        async with running(vhost) as bridge:
            calls = [bridge.send_task("test.echo", [{"number": number}], queue=QUEUE) for number in range(10)]
            assert await asyncio.gather(*calls) == [{"number": number} for number in range(10)]
            encoded = await bridge.send_task("test.encoded", [{"a": [1.5]}], encoded=True, queue=QUEUE)
            assert (type(encoded), encoded.decode()) == (Encoded, {"a": [1.5]})
            with pytest.raises(TaskFailed) as caught:
                await bridge.send_task("test.fail", ["a reason"], queue=QUEUE)
            assert (caught.value.exception, caught.value.message) == ("LookupError", "a reason")

            parts = [part async for part in bridge.stream("test.stream", [[5, 300_000, 7]], queue=QUEUE)]
            assert b"".join(parts) == b"\0" * 5 + b"\1" * 300_000 + b"\2" * 7

            told: list[Progress] = []
            call = bridge.send_task("test.progress", [3], queue=QUEUE, on_progress=told.append)
            also_told = [progress async for progress in call]
            assert await call == 3
            assert told == also_told == [Progress("PROGRESS", {"step": step}) for step in range(3)]
            assert bridge.statistics().unknown == bridge.statistics().malformed == 0
    finally:
        worker.kill()
