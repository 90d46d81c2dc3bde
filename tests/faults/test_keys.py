"""Two keys, one of which floods the server: the other's requests are answered as if nobody did."""

import asyncio
import json
import os
import statistics
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest

from deploy.local.process import Process, free_port
from deploy.local.services import Services
from server.keys.limits import Limits, Rate
from tests.conftest import ROOT, Start, ready, services_settings
from tests.faults.figures import Figures
from tests.faults.flood import one
from tests.server.key_files import Keys

pytestmark = [pytest.mark.gen_test(timeout=900), pytest.mark.timeout(900)]

_PATH = "/mysql_query/1"
_EACH = 0.02  # seconds from one request of the other to the next
_CONNECTIONS, _RATE = 50, 200  # of the flood: those that are kept, and further ones each second
_ALLOWED = 20  # of its requests each second
_MOST = 1.5  # times as long as alone


async def latencies(port: int, headers: dict[str, str], seconds: float) -> list[float]:
    """Of requests of the other, one after the other; all are answered with 200."""
    loop = asyncio.get_running_loop()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"GET {_PATH} HTTP/1.1\r\nHost: h\r\n{lines}\r\n".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = []
    end = loop.time() + seconds
    while (sent := loop.time()) < end:
        assert await one(reader, writer, request) == "200"
        found.append(loop.time() - sent)
        await asyncio.sleep(max(0.0, sent + _EACH - loop.time()))
    writer.close()
    return found


class Latencies:
    """Half of the requests, and 99 % of them, took that long at most."""

    def __init__(self, found: list[float]) -> None:
        cuts = statistics.quantiles(found, n=100)
        self.p50, self.p99 = cuts[49], cuts[98]

    def __str__(self) -> str:
        return f"p50 {self.p50 * 1000:.1f} ms p99 {self.p99 * 1000:.1f} ms"


async def test_while_one_key_floods_another_is_answered_as_fast(
    services: Services, worker: Process, start: Start, tmp_path: Path, scale: float, figures: Figures
) -> None:
    keys = Keys(tmp_path / "keys.json")
    calm = keys.add("calm", "queries")
    flood = keys.add("flood", "queries", limits=Limits(rate=Rate(_ALLOWED, 1), in_flight=4))
    port = free_port()
    server = start("server", "server", port=port, keys=keys.path, **services_settings(services))
    ready(server, port)
    environment = {**os.environ, "KEY": flood["Authorization"].removeprefix("Bearer ")}
    seconds, rounds = (10.0 * scale, 9) if scale else (2.0, 2)
    statuses: Counter[str] = Counter()
    alone, flooded = [], []
    used = [0.0, 0.0]  # seconds of the server's CPU
    watched = psutil.Process(server.pid)

    def cpu() -> float:
        times = watched.cpu_times()
        return times.user + times.system

    await latencies(port, calm, 1.0)
    for _ in range(rounds):
        before = cpu()
        alone.append(await latencies(port, calm, seconds))
        used[0] += cpu() - before
        arguments = [str(port), _PATH, str(seconds + 1), str(_CONNECTIONS), str(_RATE)]
        flooding = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.flood", *arguments,
            cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await asyncio.sleep(0.7)
        before = cpu()
        flooded.append(await latencies(port, calm, seconds))
        used[1] += cpu() - before
        printed, _ = await flooding.communicate()
        statuses += Counter(json.loads(printed))
    ratios = [Latencies(under).p99 / Latencies(without).p99 for without, under in zip(alone, flooded)]
    quiet, loud = (Latencies(sum(found, [])) for found in (alone, flooded))
    figures.remark(
        "two keys, one floods",
        alone=quiet,
        flooded=loud,
        p99_times=f"{loud.p99 / quiet.p99:.2f} (by rounds {' '.join(f'{ratio:.2f}' for ratio in ratios)})",
        CPU_of_the_server=" and ".join(f"{each / rounds / seconds:.0%}" for each in used),
        answers_of_the_flood=statuses,
    )
    assert statuses.keys() <= {"200", "429", "none"} and statuses["429"] > statuses["200"]
    assert 0 < statuses["200"] <= rounds * _ALLOWED * (seconds + 3)
    # Of few requests, the slowest are those that something else has held up.
    if scale >= 1:
        assert statistics.median(ratios) <= _MOST
