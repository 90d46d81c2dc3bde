"""Tornado in front of Celery, by the two recipes that everybody finds.

`server.py executor PORT THREADS`: the blocking get() in a pool of threads.
`server.py polling PORT SECONDS`: ready() asked again and again on the loop.
"""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

from tornado.web import Application, RequestHandler
from worker import echo


class Executor(RequestHandler):
    def initialize(self, how: str) -> None:
        if not hasattr(type(self), "pool"):
            type(self).pool = ThreadPoolExecutor(int(how))

    async def get(self, number: str) -> None:
        loop = asyncio.get_running_loop()
        self.finish(str(await loop.run_in_executor(self.pool, lambda: echo.delay(int(number)).get(timeout=30))))


class Polling(RequestHandler):
    def initialize(self, how: str) -> None:
        self.pause = float(how)

    async def get(self, number: str) -> None:
        result = echo.delay(int(number))
        while not result.ready():
            await asyncio.sleep(self.pause)
        self.finish(str(result.get()))


async def main() -> None:
    kind, port, how = sys.argv[1:]
    handler = {"executor": Executor, "polling": Polling}[kind]
    Application([(r"/echo/(\d+)", handler, {"how": how})]).listen(int(port), "127.0.0.1")
    await asyncio.Event().wait()


asyncio.run(main())
