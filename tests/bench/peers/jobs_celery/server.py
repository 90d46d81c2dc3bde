"""Tornado in front of Celery: `server.py PORT`."""

import asyncio
import sys

from tornado.web import Application, RequestHandler
from worker import nothing


class Jobs(RequestHandler):
    def post(self) -> None:
        self.set_status(202)
        self.finish({"id": nothing.delay().id})


async def main() -> None:
    Application([("/jobs", Jobs)]).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


asyncio.run(main())
