import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from celery import Celery

from deploy.local.process import Process
from deploy.local.services import Services
from nowait.bridge import Bridge
from nowait.testing import FakeBridge

Make = Callable[..., AbstractAsyncContextManager[Any]]
QUEUE = "tests"


@asynccontextmanager
async def running(url: str, **options: Any) -> AsyncIterator[Bridge]:
    """A bridge that is connected, and stopped afterwards."""
    bridge = Bridge(Celery("server", broker=url, set_as_current=False), **options)
    await bridge.start()
    try:
        await until(lambda: bridge.state == "connected")
        yield bridge
    finally:
        await bridge.stop(drain=0)


async def until(happened: Callable[[], bool], timeout: float = 30.0) -> None:
    """Return once `happened()`; fail when it does not."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while not happened():
        assert loop.time() < deadline, "it did not happen"
        await asyncio.sleep(0.01)


@pytest.fixture
def broker_url(services: Services, test_worker: Process) -> str:
    """A broker that a worker of `tests.celeryapp` serves."""
    return services.broker_url


@asynccontextmanager
async def faking(tasks: dict[str, Any], **options: Any) -> AsyncIterator[FakeBridge]:
    """A fake bridge with these tasks, stopped afterwards."""
    bridge = FakeBridge(tasks, queues=[QUEUE], **options)
    yield bridge
    await bridge.stop()


@pytest.fixture(params=["fake", "real"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes a bridge that is connected: a fake with the module's FAKES for tasks, and one with real workers."""
    if request.param == "fake":
        return lambda **options: faking(request.module.FAKES, **options)
    url = request.getfixturevalue("broker_url")
    return lambda **options: running(url, **options)
