"""A consumer of a queue that comes again whenever its connection ends."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Sequence

from tornado.httpclient import HTTPClientError
from tornado.websocket import WebSocketClosedError, websocket_connect

from tests.soak.work import Acknowledged, Hold

_PAUSE = 0.5  # seconds until it comes again
_WORK = 0.01  # seconds that it takes for a message


class Consumer:
    """It works until it is stopped.

    Args:
        urls: of the servers, any of which it goes to.
        acknowledged: gets what it has acknowledged.
    """

    def __init__(self, urls: Sequence[str], acknowledged: list[Acknowledged]) -> None:
        self._urls = urls
        self._acknowledged = acknowledged
        self._task = asyncio.create_task(self._go_on())

    async def stop(self) -> None:
        """Returns once its connection is closed."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _go_on(self) -> None:
        while True:
            with contextlib.suppress(OSError, HTTPClientError, WebSocketClosedError):
                await self._consume()
            await asyncio.sleep(_PAUSE)

    async def _consume(self) -> None:
        url = random.choice(self._urls).replace("http:", "ws:")
        socket = await websocket_connect(f"{url}/queues/parcels/consumer?prefetch=1", connect_timeout=10)
        hold = Hold()
        try:
            while isinstance(text := await socket.read_message(), str):
                message = json.loads(text)
                await asyncio.sleep(_WORK)
                await socket.write_message(json.dumps({"ack": message["tag"]}))
                self._acknowledged.append(
                    Acknowledged(message["data"], message["redelivered"], time.monotonic(), hold)
                )
        finally:
            hold.ended = time.monotonic()
            socket.close()
