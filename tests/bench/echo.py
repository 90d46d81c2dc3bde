"""A server with the routes /echo/{number}, what a task returns, awaited by the bridge, and /i_want_you_now.

`python -m tests.bench.echo PORT`; NOWAIT_TEST_QUEUE names the queue of the workers. NOWAIT_METRICS is the address of
what the server's metrics have of it.
"""

import asyncio
import os
import sys

from celery import Celery
from tornado.web import Application, RequestHandler

from nowait.bridge import Bridge
from nowait.settings import host_port
from server.http.access_log import log_and_observe, log_request
from server.live.lag import LoopLag
from server.metrics.metrics import Metrics

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
    calls, options, measuring = None, {"log_function": log_request}, []
    if address := os.environ.get("NOWAIT_METRICS"):
        metrics = Metrics.started(host_port(address), False, ())
        calls, options["log_function"] = metrics.calls, log_and_observe(metrics.events)
        measuring.append(asyncio.create_task(LoopLag(observe=metrics.events.lagged).run()))
    bridge = Bridge(Celery("echo", broker=os.environ["NOWAIT_BROKER_URL"], backend="rpc://"), observer=calls)
    await bridge.start()
    routes = [(r"/echo/(\d+)", EchoHandler, {"bridge": bridge}), (r"/i_want_you_now", NowHandler)]
    Application(routes, **options).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.gather(asyncio.Event().wait(), *measuring)


if __name__ == "__main__":
    asyncio.run(main())
