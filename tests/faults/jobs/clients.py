"""Clients of jobs at a constant rate: each with a key asks until it has an answer, and remembers what it was told."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from tests.faults.jobs.invariants import FINAL, Answers

_PATIENCE = 300.0  # seconds that a client asks again


@dataclass(frozen=True)
class Reply:
    """What came back; the code 599 stands for no answer."""

    code: int
    body: bytes


class Clients:
    """Jobs of `test.effect`, some of them cancelled, some begun later, some that fail at times.

    Args:
        urls: of the servers; each request goes to one of them, and to another when that does not answer.
        seed: of what they ask for.
        rate: jobs a second.

    Attributes:
        answers: what they were told.
        statuses: how often each status was answered to a POST; 599 is no answer at all.
        slowest: the longest that a POST took that was accepted at its first try, in seconds; without those that wait
            for the end of their jobs.
    """

    def __init__(self, urls: Sequence[str], seed: int, rate: float) -> None:
        self._urls = urls
        self._random = random.Random(seed)
        self._rate = rate
        self._client: AsyncHTTPClient = SimpleAsyncHTTPClient(force_instance=True, max_clients=5000)
        self.answers = Answers()
        self.statuses: Counter[int] = Counter()
        self.slowest = 0.0

    async def run(self, jobs: int, faults: "asyncio.Future[Any]") -> int:
        """Ask for so many jobs, and for a tenth of the rate from then on until there are no more faults.

        Returns how many there were, once each was answered.
        """
        loop = asyncio.get_running_loop()
        due = loop.time()
        asked: list[asyncio.Future[None]] = []
        while len(asked) < jobs or not faults.done():
            asked.append(asyncio.ensure_future(self._ask(len(asked))))
            due += (1 if len(asked) < jobs else 10) / self._rate
            await asyncio.sleep(max(0, due - loop.time()))
        await asyncio.gather(*asked)
        return len(asked)

    async def _ask(self, number: int) -> None:
        draw = self._random.random
        body: dict[str, Any] = {
            "name": "test.effect",
            "parameters": {"seconds": round(draw() ** 4, 3), "failing": 0.3 if draw() < 0.2 else 0.0},
        }
        if draw() < 0.05:
            body["parameters"]["failing"], body["retry"] = 1.0, {"max_retries": 1, "backoff": 0.1}
        if draw() < 0.1:
            body["countdown"] = round(draw() * 10, 3)
        if draw() < 0.05:
            body["expires"] = round(5 + draw() * 20, 3)
        cancels, pause = draw() < 0.1, draw() * 2
        key = f"key-{number}"
        waits = draw() < 0.2
        if draw() < 0.3:
            await self._post_once(key, body)
            return
        job = await self._post(key, body, waits)
        if cancels:
            await asyncio.sleep(pause)
            await self._cancel(job)
        if draw() < 0.05:  # asked again, as if the answer had been lost
            assert await self._post(key, body, waits) == job

    async def _post(self, key: str, body: dict[str, Any], waits: bool) -> str:
        began = time.monotonic()
        tries = 0
        while True:
            tries += 1
            headers = {"Content-Type": "application/json", "Idempotency-Key": f'"{key}"'}
            if waits:
                headers["Prefer"] = "wait=1"
            answer = await self._fetch("POST", "/jobs", headers, json.dumps(body).encode())
            self.statuses[answer.code] += 1
            if answer.code in (200, 202):
                break
            assert answer.code in (409, 429, 502, 503, 599), (answer.code, answer.body)
            assert time.monotonic() - began < _PATIENCE, f"no job within {_PATIENCE:g} s: {answer.code}"
            await asyncio.sleep(0.2 + self._random.random())
        if tries == 1 and not waits:
            self.slowest = max(self.slowest, time.monotonic() - began)
        document = json.loads(answer.body)
        if self.answers.ids.setdefault(key, document["id"]) != document["id"]:
            self.answers.twice.add(key)
        self._note(document)
        return str(document["id"])

    async def _post_once(self, name: str, body: dict[str, Any]) -> None:
        """Without a key: who has no answer does not know."""
        answer = await self._fetch("POST", "/jobs", {"Content-Type": "application/json"}, json.dumps(body).encode())
        self.statuses[answer.code] += 1
        if answer.code == 202:
            document = json.loads(answer.body)
            self.answers.ids[name] = document["id"]
            self._note(document)
        else:
            assert answer.code in (429, 502, 503, 599), (answer.code, answer.body)
            self.answers.unknown += 1

    async def _cancel(self, job: str) -> None:
        while True:
            answer = await self._fetch("DELETE", f"/jobs/{job}")
            if answer.code == 200:
                self.answers.cancelled.add(job)
                self._note(json.loads(answer.body))
            if answer.code in (200, 409):
                return
            assert answer.code in (502, 503, 504, 599), (answer.code, answer.body)
            await asyncio.sleep(0.5)

    def _note(self, document: dict[str, Any]) -> None:
        if document["state"] in FINAL:
            self.answers.final[document["id"]] = document["state"]

    async def _fetch(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Reply:
        url = self._random.choice(self._urls)
        request = HTTPRequest(url + path, method, headers, body, connect_timeout=5, request_timeout=20)
        try:
            answer = await self._client.fetch(request, raise_error=False)
        except (OSError, HTTPClientError):  # it is being started, or was lost with the answer under way
            return Reply(599, b"")
        return Reply(answer.code, answer.body)
