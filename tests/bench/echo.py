"""A server with the routes /echo/{number}, what a task returns, awaited by the bridge, and /i_want_you_now.

`python -m tests.bench.echo PORT`; NOWAIT_TEST_QUEUE names the queue of the workers.
"""

import asyncio
import os
import sys

from celery import Celery
from tornado.web import Application, RequestHandler

from nowait.bridge import Bridge

_QUEUE = os.environ.get("NOWAIT_TEST_QUEUE", "tests")


class EchoHandler(RequestHandler):
    def initialize(self, bridge: Bridge) -> None:
        self._bridge = bridge

    async def get(self, number: str) -> None:
        self.finish(str(await self._bridge.send_task("test.echo", [int(number)], queue=_QUEUE)))


class NowHandler(RequestHandler):
    def get(self) -> None:
        self.finish("i want you, right now!")


async def main() -> None:
    bridge = Bridge(Celery("echo", broker=os.environ["NOWAIT_BROKER_URL"], backend="rpc://"))
    await bridge.start()
    routes = [(r"/echo/(\d+)", EchoHandler, {"bridge": bridge}), (r"/i_want_you_now", NowHandler)]
    Application(routes).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
