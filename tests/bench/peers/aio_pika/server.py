"""Tornado in front of aio-pika's RPC pattern: `server.py PORT`."""

import asyncio
import os
import sys

import aio_pika
from aio_pika.patterns import RPC
from tornado.web import Application, RequestHandler


class Echo(RequestHandler):
    def initialize(self, rpc: RPC) -> None:
        self.rpc = rpc

    async def get(self, number: str) -> None:
        self.finish(str(await self.rpc.call(os.environ["QUEUE"], {"number": int(number)}, expiration=30)))


async def main() -> None:
    connection = await aio_pika.connect_robust(os.environ["NOWAIT_BROKER_URL"])
    rpc = await RPC.create(await connection.channel())
    Application([(r"/echo/(\d+)", Echo, {"rpc": rpc})]).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


asyncio.run(main())
