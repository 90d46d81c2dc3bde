import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from celery import Celery

from deploy.local.process import Process
from deploy.local.services import Services
from nowait.bridge import Bridge


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
