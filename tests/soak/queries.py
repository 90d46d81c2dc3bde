"""Queries at a constant rate: each has an id, which comes back, and which those that must not run twice note."""

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.simple_httpclient import HTTPTimeoutError, SimpleAsyncHTTPClient

from tests.soak.work import Work

_WAIT = 10.0  # seconds that a query may take
_GRACE = 5.0  # seconds more, until it counts as lost
_REFUSED, _UNKNOWN, _LATE = 503, 502, 504


class Queries:
    """In turn, one that may run twice and one that must not.

    Args:
        urls: of the servers; each request goes to one of them, and to no other.
        was_down: has a server been away since a moment, by time.monotonic()?
        seed: of which server each goes to.
        rate: queries a second.

    Attributes:
        work: what became of them.
        answered, refused: the ids of those that must not run twice, with such an answer.
    """

    def __init__(self, urls: Sequence[str], was_down: Callable[[str, float], bool], seed: int, rate: float) -> None:
        self._urls = urls
        self._was_down = was_down
        self._random = random.Random(seed)
        self._rate = rate
        self._client: AsyncHTTPClient = SimpleAsyncHTTPClient(force_instance=True, max_clients=2000)
        self.work = Work("queries")
        self.answered: list[str] = []
        self.refused: list[str] = []

    async def run(self, over: "asyncio.Future[Any]") -> None:
        """Ask until it is over; returns once all are answered."""
        loop = asyncio.get_running_loop()
        due, asked = loop.time(), set[asyncio.Task[None]]()
        while not over.done():
            task = asyncio.create_task(self._ask(self.work.asked))
            self.work.asked += 1
            asked.add(task)
            task.add_done_callback(asked.discard)
            due += 1 / self._rate
            await asyncio.sleep(max(0.0, due - loop.time()))
        await asyncio.gather(*asked)

    async def _ask(self, number: int) -> None:
        query_id, noted, url = f"query-{number}", number % 2 == 0, self._random.choice(self._urls)
        if noted:
            body = json.dumps({"id": query_id}).encode()
            request = HTTPRequest(f"{url}/queries/note", "POST", {"Content-Type": "application/json"}, body)
        else:
            request = HTTPRequest(f"{url}/queries/look?id={query_id}")
        request.headers["Prefer"] = f"wait={_WAIT:g}"
        request.connect_timeout = request.request_timeout = _WAIT + _GRACE
        sent = time.monotonic()
        try:
            answer = await self._client.fetch(request, raise_error=False)
        except HTTPTimeoutError:
            self._count_as_lost(f"{query_id}: no answer")
        except (OSError, HTTPClientError) as error:
            if self._was_down(url, sent):
                self.work.unknown += 1
            else:
                self._count_as_lost(f"{query_id}: {error!r} by {url}, which was there")
        else:
            self._take(query_id, noted, answer.code, answer.body)

    def _take(self, query_id: str, noted: bool, status: int, body: bytes) -> None:
        if status == _REFUSED:
            self.work.refused += 1
            if noted:
                self.refused.append(query_id)
        elif status == _UNKNOWN and noted:
            self.work.unknown += 1
        elif status == _LATE:
            self.work.late += 1
        elif status == 200 and [row["id"] for row in json.loads(body)["rows"]] == [query_id]:
            self.work.done += 1
            if noted:
                self.answered.append(query_id)
        else:
            self.work.broken.append(f"{query_id}: {status} {body[:300]!r}")

    def _count_as_lost(self, what: str) -> None:
        self.work.lost += 1
        self.work.broken.append(what)
