"""One client of all servers of a stack: requests, streams of events, and how soon a server answers what is no work."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

_TIMEOUT = 90.0  # seconds for one answer, far more than any takes


@dataclass(frozen=True)
class Reply:
    """An answer, and the seconds that it took."""

    code: int
    document: Any
    etag: str
    seconds: float


@dataclass(frozen=True)
class Event:
    """One event of a job's stream."""

    id: str
    kind: str
    job: dict[str, Any]


class Client:
    """Asks the servers, each request another one.

    Args:
        urls: of the servers.

    Attributes:
        statuses: how often each status was answered.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls
        self._client: AsyncHTTPClient = SimpleAsyncHTTPClient(force_instance=True, max_clients=5000)
        self.statuses: Counter[int] = Counter()

    async def post(self, body: dict[str, Any], key: str | None = None, wait: float | None = None) -> Reply:
        """POST /jobs"""
        headers = {"Content-Type": "application/json"}
        headers |= {} if key is None else {"Idempotency-Key": key}
        return await self._fetch("POST", "/jobs", wait, headers, json.dumps(body).encode())

    async def get(self, job_id: str, wait: float | None = None, etag: str | None = None) -> Reply:
        """GET /jobs/{id}"""
        return await self._fetch("GET", f"/jobs/{job_id}", wait, {} if etag is None else {"If-None-Match": etag})

    async def cancel(self, job_id: str) -> Reply:
        """DELETE /jobs/{id}"""
        return await self._fetch("DELETE", f"/jobs/{job_id}")

    async def state(self, job_id: str) -> str:
        """The state of a job."""
        return str((await self.get(job_id)).document["state"])

    async def ended(self, job_id: str, within: float) -> dict[str, Any]:
        """The job, once it has ended; fails when it has not within so many seconds."""
        deadline = time.monotonic() + within
        while True:
            reply = await self.get(job_id, wait=min(10.0, max(0.1, deadline - time.monotonic())))
            if reply.code == 200 and reply.document["finished"] is not None:
                found: dict[str, Any] = reply.document
                return found
            assert time.monotonic() < deadline, reply

    async def events(self, job_id: str, last: str | None = None) -> AsyncIterator[Event]:
        """The events of a job; none when it has no later one than that with the id `last`. To be closed by aclose()."""
        url = urlsplit(random.choice(self._urls))
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        try:
            lines = [f"GET /jobs/{job_id}/events HTTP/1.0", "Host: jobs"]  # in 1.0, its end is that of the connection
            lines += [] if last is None else [f"Last-Event-ID: {last}"]
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            status = int((await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1])
            self.statuses[status] += 1
            while status == 200:
                try:
                    block = await reader.readuntil(b"\n\n")
                except asyncio.IncompleteReadError:
                    return
                fields = dict(line.split(": ", 1) for line in block.decode().split("\n") if ": " in line)
                if "data" in fields:
                    yield Event(fields["id"], fields["event"], json.loads(fields["data"]))
        finally:
            writer.close()

    @asynccontextmanager
    async def pulse(self, rate: float = 20.0) -> AsyncIterator[list[float]]:
        """The seconds that answers took for which a server has nothing to do; asked for while the block runs."""

        async def ask() -> None:
            for url in self._urls:
                began = time.monotonic()
                answer = await self._client.fetch(HTTPRequest(f"{url}/i_want_you_now", request_timeout=_TIMEOUT))
                assert answer.code == 200
                seconds.append(time.monotonic() - began)

        async def go_on() -> None:
            while True:
                asking.append(asyncio.ensure_future(ask()))
                await asyncio.sleep(1 / rate)

        seconds: list[float] = []
        asking: list[asyncio.Future[None]] = []
        beating = asyncio.ensure_future(go_on())
        try:
            yield seconds
        finally:
            beating.cancel()
            await asyncio.gather(*asking)

    async def _fetch(
        self,
        method: str,
        path: str,
        wait: float | None = None,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Reply:
        began = time.monotonic()
        headers = {**(headers or {}), **({} if wait is None else {"Prefer": f"wait={wait:g}"})}
        url = random.choice(self._urls)
        request = HTTPRequest(url + path, method, headers, body, connect_timeout=20, request_timeout=_TIMEOUT)
        answer = await self._client.fetch(request, raise_error=False)
        self.statuses[answer.code] += 1
        document = json.loads(answer.body) if answer.body and answer.code != 599 else None
        return Reply(answer.code, document, answer.headers.get("Etag", ""), time.monotonic() - began)


def body(seconds: float = 0.0, **members: Any) -> dict[str, Any]:
    """The request for a job that has two effects, so many seconds apart."""
    return {"name": "test.effect", "parameters": {"seconds": seconds, "failing": 0}, **members}
