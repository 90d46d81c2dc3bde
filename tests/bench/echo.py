"""A server with one route, /echo/{number}: what a task returns, awaited in one of two ways.

`python -m tests.bench.echo bridge PORT`, or `threads PORT COUNT` for the recipe that everybody
finds: the blocking call in a pool of so many threads.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery import Celery
from tornado.web import Application, RequestHandler

from nowait.bridge import Bridge

Echo = Callable[[int], Awaitable[Any]]
TASK, QUEUE = "test.echo", os.environ.get("NOWAIT_TEST_QUEUE", "tests")


class EchoHandler(RequestHandler):
    def initialize(self, echo: Echo) -> None:
        self._echo = echo

    async def get(self, number: str) -> None:
        self.finish(str(await self._echo(int(number))))


async def bridged(app: Celery) -> Echo:
    bridge = Bridge(app)
    await bridge.start()
    return lambda number: bridge.send_task(TASK, [number], queue=QUEUE)


def threaded(app: Celery, count: int) -> Echo:
    pool = ThreadPoolExecutor(count)
    loop = asyncio.get_running_loop()
    return lambda number: loop.run_in_executor(
        pool, lambda: app.send_task(TASK, [number], queue=QUEUE).get(timeout=30)
    )


async def main() -> None:
    way, port, *count = sys.argv[1:]
    app = Celery("echo", broker=os.environ["NOWAIT_BROKER_URL"], backend="rpc://")
    echo = await bridged(app) if way == "bridge" else threaded(app, int(count[0]))
    Application([(r"/echo/(\d+)", EchoHandler, {"echo": echo})]).listen(int(port), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
