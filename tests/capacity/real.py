"""A real stack of some workers, asked what the simulation is asked."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tornado.httpclient import HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient


@dataclass(frozen=True)
class Measured:
    """What came back, in seconds.

    Attributes:
        requests: when each request was really sent, in order, and how long its task really ran.
        waits: how long each waited for a thread, as the server has it (`Server-Timing: queue`).
        seconds: from the first request to the last answer.
        late: the longest that one was sent too late.
    """

    requests: list[tuple[float, float]]
    waits: list[float]
    seconds: float
    late: float


async def ask(url: str, requests: Sequence[tuple[float, float]]) -> Measured:
    """Send requests to a server of the demo, each in its second, and have its query sleep for so many seconds.

    All have to be answered.
    """
    client = SimpleAsyncHTTPClient(force_instance=True, max_clients=len(requests))
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def send(moment: float, seconds: float) -> tuple[float, float, float, float]:
        await asyncio.sleep(began + moment - loop.time())
        sent = loop.time() - began
        answer = await client.fetch(HTTPRequest(f"{url}/mysql_query/1?delay={seconds:.6f}", request_timeout=60))
        timing = dict(re.findall(r"(\w+);dur=([\d.]+)", answer.headers["Server-Timing"]))
        return sent, float(timing["run"]) / 1000, float(timing["queue"]) / 1000, sent - moment

    found = sorted(await asyncio.gather(*(send(*request) for request in requests)))
    seconds = loop.time() - began
    client.close()
    _, _, waits, late = (list(each) for each in zip(*found))
    return Measured([(sent, run) for sent, run, *_ in found], waits, seconds, max(late))
