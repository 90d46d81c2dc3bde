"""More queries than workers can answer: as many are answered as can be, all others are refused at once."""

import asyncio
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local.process import free_port
from deploy.local.services import Services
from tests.conftest import Start, celery_worker, ready, services_settings
from tests.faults.figures import Figures
from tests.faults.flood import one
from tests.faults.slow_tasks import RUN
from tests.server.key_files import Keys

pytestmark = [pytest.mark.gen_test(timeout=900), pytest.mark.timeout(900)]

_THREADS = 4
_CAPACITY = _THREADS / RUN  # queries a second
_WAIT = 2.0  # seconds that each of them may take


@dataclass
class Answer:
    """What came of a request.

    Attributes:
        sent: when.
        status: "200" and so on; "none" without an answer.
        took: seconds.
    """

    sent: float
    status: str
    took: float


class Clients:
    """Those of one key, with as many connections as they need.

    Args:
        port: of the server.
        headers: of each request.
        wait: seconds that each may take.

    Attributes:
        answers: of all requests that have come to an end.
    """

    def __init__(self, port: int, headers: dict[str, str], wait: float = _WAIT) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._request = f"GET /mysql_query/1 HTTP/1.1\r\nHost: h\r\nPrefer: wait={wait:g}\r\n{lines}\r\n".encode()
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.answers: list[Answer] = []

    async def ask(self) -> Answer:
        """Send one request."""
        loop = asyncio.get_running_loop()
        sent = loop.time()
        try:
            reader, writer = await self._connection()
            status = await one(reader, writer, self._request)
            self._idle.append((reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            status = "none"
        answer = Answer(sent, status, loop.time() - sent)
        self.answers.append(answer)
        return answer

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            # The one that was used last: those that the server has closed, as nothing came by them, are at the front.
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def send(self, rate: float, seconds: float) -> list[Answer]:
        """Send so many requests a second, whatever comes of them; what came of these."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        asked = []
        for number in range(round(rate * seconds)):
            await asyncio.sleep(max(0.0, begun + number / rate - loop.time()))
            asked.append(asyncio.ensure_future(self.ask()))
        return list(await asyncio.gather(*asked))

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


@pytest.fixture
def runs(services: Services, start: Start, tmp_path: Path) -> Iterator[Path]:
    """The file of the runs of a worker that can do 40 queries a second."""
    runs = tmp_path / "runs"
    runs.touch()
    settings = {"broker_url": services.broker_url, "test_runs": runs}
    worker = celery_worker(start, "tests.faults.slow_tasks", "-P", "threads", "-c", str(_THREADS), **settings)
    yield runs
    worker.kill()


def p99(answers: list[Answer]) -> float:
    return statistics.quantiles([answer.took for answer in answers], n=100)[98]


def statuses(answers: list[Answer]) -> Counter[str]:
    return Counter(answer.status for answer in answers)


async def test_three_times_what_workers_can_do_costs_nobody_else_an_answer(
    services: Services, runs: Path, start: Start, scale: float, figures: Figures
) -> None:
    port = free_port()
    server = start("server", "server", port=port, **services_settings(services))
    ready(server, port)
    clients = Clients(port, {})
    try:
        normal = await clients.send(_CAPACITY / 2, 10.0 * scale or 2.0)
        seconds = 300.0 * scale or 6.0
        flooded = await clients.send(3 * _CAPACITY, seconds)
        after = await clients.send(_CAPACITY / 2, 30.0 if scale else 6.0)
    finally:
        clients.close()
        server.kill()
    first = flooded[0].sent
    # Without the first seconds, in which those before are still being answered, and the last answers.
    answered = [each.sent + each.took - first for each in flooded if each.status == "200"]
    goodput = sum(_WAIT < moment < seconds for moment in answered) / (seconds - _WAIT)
    refused = [answer for answer in flooded if answer.status == "503"]
    later = [answer for answer in after if answer.sent > after[0].sent + (10.0 if scale else 4.0)]
    vain = [float(line) for line in runs.read_text().split()]
    figures.remark(
        f"three times what workers can do, {seconds:g} s", goodput=f"{goodput / _CAPACITY:.0%}",
        answers=statuses(flooded), p99_of_refusals=p99(refused), slowest_refusal=max(each.took for each in refused),
        p99_before=p99(normal), p99_after=p99(later), runs=len(vain), of_expired=sum(late > 0 for late in vain),
        in_vain=sum(0 >= late > -RUN for late in vain),
    )  # fmt: skip
    assert statuses(normal).keys() == statuses(later).keys() == {"200"}
    assert statuses(flooded).keys() <= {"200", "503", "504"} and statuses(flooded)["504"] < len(flooded) / 100
    assert not any(late > 0 for late in vain)
    if scale >= 1:
        assert goodput >= 0.9 * _CAPACITY
        assert p99(refused) <= 0.05
        assert p99(later) <= 2 * p99(normal)


async def test_of_two_keys_the_one_that_floods_keeps_the_other_from_nothing(
    services: Services, runs: Path, start: Start, tmp_path: Path, scale: float, figures: Figures
) -> None:
    keys = Keys(tmp_path / "keys.json")
    calm, flood = (keys.add(name, "queries") for name in ("calm", "flood"))
    port = free_port()
    server = start("server", "server", port=port, keys=keys.path, **services_settings(services))
    ready(server, port)
    # Of the time of a call a quarter is for what is not foreseen: more than a busy machine stands still for.
    sides = [Clients(port, key, wait=_WAIT if scale else 3 * _WAIT) for key in (calm, flood)]
    seconds = 60.0 * scale or 8.0
    try:
        rates = (_CAPACITY / 4, 3 * _CAPACITY)
        answers = await asyncio.gather(*(side.send(rate, seconds) for side, rate in zip(sides, rates)))
    finally:
        for side in sides:
            side.close()
        server.kill()
    figures.remark(
        "two keys, one with three times what workers can do", calm=statuses(answers[0]), flood=statuses(answers[1]),
        p99_of_calm=p99(answers[0]),
    )  # fmt: skip
    assert statuses(answers[0])["200"] >= 0.95 * len(answers[0])
    assert statuses(answers[1])["503"] > statuses(answers[1])["200"] > 0
