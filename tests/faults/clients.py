"""HTTP clients that ask at a constant rate."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from tests.bridge.conftest import until


class Clients:
    """Requests at a constant rate, and what became of each.

    Args:
        url: of the server.
        paths: what is asked for, in turn.
        rate: requests a second.
        wait: seconds that each request may take, as its header Prefer; None for the server's own limit.

    Attributes:
        statuses: how often each status was answered; 599 is no answer at all.
        slowest: the longest that an answer took, in seconds.
    """

    def __init__(self, url: str, *paths: str, rate: float = 40, wait: float | None = None) -> None:
        self._url = url
        self._paths = paths
        self._pause = 1 / rate
        self._headers = {} if wait is None else {"Prefer": f"wait={wait:g}"}
        self.statuses: Counter[int] = Counter()
        self.slowest = 0.0
        self._client: AsyncHTTPClient = SimpleAsyncHTTPClient(force_instance=True, max_clients=2000)

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Send requests inside the block, and wait for all answers behind it."""
        sending = asyncio.ensure_future(self._send())
        try:
            yield
        finally:
            sending.cancel()
            requests = await asyncio.gather(sending, return_exceptions=True)
            assert isinstance(requests[0], asyncio.CancelledError), requests
            await until(lambda: not self._open, timeout=60)

    async def get(self, path: str) -> int:
        """The status of one request."""
        started = time.monotonic()
        request = HTTPRequest(f"{self._url}{path}", headers=self._headers, request_timeout=45)
        answer = await self._client.fetch(request, raise_error=False)
        self.slowest = max(self.slowest, time.monotonic() - started)
        return answer.code

    async def _send(self) -> None:
        self._open: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        due = loop.time()
        number = 0
        while True:
            number += 1
            task = asyncio.ensure_future(self._one(self._paths[number % len(self._paths)]))
            self._open.add(task)
            task.add_done_callback(self._open.discard)
            due += self._pause
            await asyncio.sleep(max(0, due - loop.time()))

    async def _one(self, path: str) -> None:
        self.statuses[await self.get(path)] += 1
