"""FastAPI in front of taskiq: RabbitMQ for the tasks, Redis for the results, as taskiq has no other way.

`uvicorn app:server --port PORT` and `taskiq worker app:broker --workers 1`.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from taskiq_aio_pika import AioPikaBroker
from taskiq_redis import RedisAsyncResultBackend

results = RedisAsyncResultBackend(os.environ["REDIS_URL"], keep_results=False)
broker = AioPikaBroker(os.environ["NOWAIT_BROKER_URL"], qos=100).with_result_backend(results)


@broker.task
async def echo(number: int) -> int:
    """What it was given."""
    return number


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    await broker.startup()
    yield
    await broker.shutdown()


server = FastAPI(lifespan=lifespan)


@server.get("/echo/{number}", response_class=PlainTextResponse)
async def get(number: int) -> str:
    task = await echo.kiq(number)
    result = await task.wait_result(check_interval=0.005, timeout=30)
    return str(result.return_value)
