"""Tornado in front of FastStream's RPC: `server.py PORT`."""

import asyncio
import os
import sys

from faststream.rabbit import RabbitBroker
from tornado.web import Application, RequestHandler


class Echo(RequestHandler):
    def initialize(self, broker: RabbitBroker) -> None:
        self.broker = broker

    async def get(self, number: str) -> None:
        answer = await self.broker.request(int(number), os.environ["QUEUE"], timeout=30)
        self.finish(str(await answer.decode()))


async def main() -> None:
    broker = RabbitBroker(os.environ["NOWAIT_BROKER_URL"], log_level=50)
    await broker.start()
    Application([(r"/echo/(\d+)", Echo, {"broker": broker})]).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


asyncio.run(main())
