"""A server with the routes /echo/{number}, what a task returns, awaited by the bridge, and /i_want_you_now.

`python -m tests.bench.echo PORT`; NOWAIT_TEST_QUEUE names the queue of the workers. NOWAIT_METRICS is the address of
all metrics of a server, as if the rest of it were there; NOWAIT_TRACES=1 has it make the server's traces.
"""

import asyncio
import os
import sys

from celery import Celery
from tornado.web import Application, RequestHandler

from nowait import tracing
from nowait.bridge import Bridge
from nowait.settings import host_port
from nowait.tracing import otel  # noqa: F401 - with and without traces, the collector of garbage sees the same
from server import garbage
from server.app import make_app
from server.http.access_log import log_and_observe, log_request
from server.http.connections import Connections
from server.http.route import rules
from server.lifecycle import Server
from server.metrics.metrics import Metrics
from server.reloader import Reloader
from server.settings import Settings
from server.tracing import TracedBridge, end_request, request_span

_QUEUE = os.environ.get("NOWAIT_TEST_QUEUE", "tests")


class EchoHandler(RequestHandler):
    def initialize(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._span = request_span(self.request, "the-request", trusted=False)

    def prepare(self) -> None:
        self._span.enter()

    def on_finish(self) -> None:
        end_request(self._span, self.get_status())

    async def get(self, number: str) -> None:
        self.finish(str(await self._bridge.send_task("test.echo", [int(number)], queue=_QUEUE)))


class NowHandler(RequestHandler):
    def get(self) -> None:
        self.finish("i want you, right now!")


async def main() -> None:
    settings = Settings(broker_url=os.environ["NOWAIT_BROKER_URL"], database_url=os.environ["NOWAIT_DATABASE_URL"])
    metrics = None
    if address := os.environ.get("NOWAIT_METRICS"):
        metrics = Metrics.started(host_port(address), False, settings.queues.keys(), settings.database_url)
    traced = os.environ.get("NOWAIT_TRACES") == "1"
    if traced:
        tracing.start("echo")
    app = Celery("echo", broker=settings.broker_url, backend="rpc://")
    bridge = (TracedBridge if traced else Bridge)(app, observer=metrics and metrics.calls)
    web = make_app(bridge, settings, observer=metrics and metrics.events)
    garbage.spare()
    await bridge.start()
    routes = [(r"/echo/(\d+)", EchoHandler, {"bridge": bridge}), (r"/i_want_you_now", NowHandler, {})]
    log = log_and_observe(metrics.events) if metrics else log_request
    Application(rules(routes), log_function=log).listen(int(sys.argv[1]), "127.0.0.1")
    server = Server(bridge, web, Connections(10_000), Reloader({}), None)
    await (metrics.run(server) if metrics else asyncio.Event().wait())


if __name__ == "__main__":
    asyncio.run(main())
