"""Webhooks beside receivers of all kinds, and servers that are lost between an answer and its note.

The schedule of attempts, a day long otherwise, is some seconds; receivers have less time to answer where servers are
lost.
"""

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from deploy.local.database import Database
from deploy.local.process import Process, free_port, listens
from nowait.jobs.migrations import migrate
from server.webhooks.signing import new_secret
from tests.bridge.conftest import until
from tests.conftest import Start
from tests.faults.figures import Figures
from tests.faults.jobs.failpoints import DELIVERED, Failpoints
from tests.faults.jobs.journal import Journal
from tests.faults.receivers import BAD, BUFFERED, OTHERS, PUBLIC, Receivers

pytestmark = [pytest.mark.gen_test(timeout=7200), pytest.mark.timeout(7200)]

SECRET = new_secret()
PAUSES = (8.0, 16.0)  # seconds
WITHIN = 0.2  # of a pause
RATE = 100  # jobs that end in a second


class Site:
    """Servers without broker and workers, whose jobs end in their database.

    Args:
        folder: of the database, and of what is noted.
        start: the fixture, which ends the programs with the run.
        receivers: that listen.
        timeout: seconds that these have to answer.
        lease: seconds after which what is not noted is sent again.

    Attributes:
        points: that the servers come by.
        connects: a line for each address and port that they have connected to.
        allowed: what these lines may be.
    """

    def __init__(self, folder: Path, start: Start, receivers: Receivers, *, timeout: float, lease: float) -> None:
        (folder / "failpoints").mkdir()
        receivers.ca.cert_pem.write_to_path(str(folder / "ca.pem"))
        self.points = Failpoints(folder / "failpoints", random.SystemRandom().randrange(2**32))
        self.connects = folder / "connects"
        self.database = Database(folder / "database")
        self.journal = Journal(self.database.url)
        self._start = start
        broker = free_port()  # nobody listens there
        given = {
            "pauses": PAUSES, "timeout": timeout, "lease": lease, "ca": str(folder / "ca.pem"),
            "addresses": receivers.addresses, "connects": str(self.connects),
        }  # fmt: skip
        self._settings: dict[str, Any] = {
            **self.points.settings(), "test_webhooks": json.dumps(given), "webhook_secrets": SECRET,
            "webhook_allow": receivers.allowed, "database_url": self.database.url,
            "broker_url": f"amqp://guest:guest@127.0.0.1:{broker}//", "shutdown_timeout": 0,
        }  # fmt: skip
        # The guard lets one pass that is of the internet; the test does not.
        self.allowed = {f"{address}:{receivers.port}" for address in receivers.addresses.values()} | {f"{PUBLIC}:443"}
        self.allowed |= {f"127.0.0.1:{port}" for port in (self.database.port, broker)}
        self._servers: list[Process] = []

    def begin(self, servers: int) -> None:
        """Start all of it."""
        self.database.start()
        self.database.wait_ready()
        migrate(self.database.url)
        self.journal.open()
        for _ in range(servers):
            port = free_port()
            server = self._start("server", "tests.faults.jobs.webhooks_server", port=port, **self._settings)
            self._servers.append(server)
            server.wait_until(lambda: listens(port), 60.0)

    def end(self) -> None:
        """End all of it."""
        for server in self._servers:
            server.kill()
        self.database.stop()


def p99(values: list[float]) -> float:
    return sorted(values)[len(values) * 99 // 100]


async def test_good_receivers_are_not_held_up_and_bad_ones_get_what_they_should(
    tmp_path: Path, start: Start, scale: float, figures: Figures
) -> None:
    count, others = round(10_000 * scale) or 200, round(50 * scale) or 2
    async with Receivers(good=10).listening() as receivers:
        site = Site(tmp_path, start, receivers, timeout=15.0, lease=60.0)
        try:
            await asyncio.to_thread(site.begin, 2)
            bad = [receivers.url(f"{name}.test") for name in (*BAD, *OTHERS) for _ in range(others)]
            random.Random(count).shuffle(bad)
            good = await _end_jobs(site.journal, receivers, count, list(bad))
            scheduled = set()
            for _ in range(3):
                scheduled |= set(await asyncio.to_thread(site.journal.end, [receivers.url("500.test")]))
                await asyncio.sleep(2.0)
            delivered = lambda: [each for each in site.journal.outcomes() if each.state == "delivered"]  # noqa: E731
            await until(lambda: len(delivered()) >= count, 60.0)
            failed = lambda: {each.job for each in site.journal.outcomes() if each.state == "failed"}  # noqa: E731
            await until(lambda: scheduled <= failed(), 120.0)
            notes = site.journal.outcomes()
        finally:
            site.end()
    seconds = [each.seconds for each in notes if each.job in good and each.state == "delivered"]
    times = Counter(each.job for each in notes if each.state == "delivered")
    moments = _moments(receivers, "500.test")
    late = [
        (behind - before) / pause - 1
        for job in scheduled
        for before, behind, pause in zip(moments[job], moments[job][1:], PAUSES)
    ]
    refused = set(site.connects.read_text().split()) - site.allowed
    figures.remark(
        f"webhooks, {count} to 10 good receivers, {RATE} each second, {len(bad)} to {len(BAD) + len(OTHERS)} others",
        p50=sorted(seconds)[len(seconds) // 2], p99=p99(seconds), longest=max(seconds),
        off_schedule_at_most=f"{max(map(abs, late)):.0%}", refused_addresses_reached=len(refused),
    )  # fmt: skip
    assert times == Counter(dict.fromkeys(good, 1))
    assert {name: len(receivers.got[name]) for name in receivers.good} == {
        name: count // 10 for name in receivers.good
    }
    assert p99(seconds) < 5.0
    assert len(late) == len(scheduled) * len(PAUSES) and all(abs(each) <= WITHIN for each in late)
    assert not refused
    for name in receivers.good:
        _, headers, body = receivers.got[name][0]
        assert Webhook(SECRET).verify(body, headers)["type"] == "job.cancelled"
    assert receivers.flooded < len(receivers.got["flood.test"]) * BUFFERED


async def _end_jobs(
    journal: Journal, receivers: Receivers, count: int, bad: list[str], rate: int = RATE
) -> set[str]:
    """End jobs for good receivers, so many each second, among them those for the others; returns the former's ids."""
    good: set[str] = set()
    part = rate // 10
    for at in range(0, count, part):
        urls = [receivers.url(receivers.good[n % len(receivers.good)]) for n in range(at, at + part)]
        mixed = [bad.pop() for _ in range(min(len(bad), 1 + len(bad) * part // (count - at)))]
        ended = await asyncio.to_thread(journal.end, [*mixed, *urls])
        good |= set(ended[len(mixed) :])
        await asyncio.sleep(0.1)
    return good


async def test_one_good_receiver_gets_all_of_it_in_time(
    tmp_path: Path, start: Start, scale: float, figures: Figures
) -> None:
    count = round(5000 * scale) or 200
    async with Receivers(good=1).listening() as receivers:
        site = Site(tmp_path, start, receivers, timeout=15.0, lease=60.0)
        try:
            await asyncio.to_thread(site.begin, 1)
            good = await _end_jobs(site.journal, receivers, count, [], RATE // 2)
            await until(lambda: site.journal.undelivered() == 0, 60.0)
            notes = site.journal.outcomes()
        finally:
            site.end()
    seconds = [each.seconds for each in notes if each.state == "delivered"]
    figures.remark(
        f"webhooks, {count} to one good receiver, {RATE // 2} each second", p50=sorted(seconds)[len(seconds) // 2],
        p99=p99(seconds), longest=max(seconds),
    )  # fmt: skip
    assert Counter(each.job for each in notes if each.state == "delivered") == Counter(dict.fromkeys(good, 1))
    assert p99(seconds) < 5.0


def _moments(receivers: Receivers, name: str) -> dict[str, list[float]]:
    """When a receiver got what, by the ids of the jobs."""
    found: dict[str, list[float]] = {}
    for moment, headers, _ in receivers.got[name]:
        found.setdefault(headers["webhook-id"].removeprefix("job_"), []).append(moment)
    return found


async def test_what_was_answered_and_not_noted_is_delivered_again_under_the_same_id(
    tmp_path: Path, start: Start, scale: float, figures: Figures
) -> None:
    times = round(200 * scale) or 3
    ids: list[str] = []
    async with Receivers(good=5).listening() as receivers:
        site = Site(tmp_path, start, receivers, timeout=2.0, lease=3.0)
        try:
            await asyncio.to_thread(site.begin, 1)
            site.points.order({DELIVERED: 0.1}, times)
            while site.points.bites(DELIVERED) < times:
                urls = [receivers.url(f"good{n}.test") for n in range(5)]
                ids += await asyncio.to_thread(site.journal.end, urls)
                await asyncio.sleep(0.2)
            await until(lambda: site.journal.undelivered() == 0, 120.0)
            notes = site.journal.outcomes()
        finally:
            site.end()
    got = Counter(headers["webhook-id"] for each in receivers.got.values() for _, headers, _ in each)
    bites = site.points.bites(DELIVERED)
    figures.remark(
        f"webhooks, servers lost between an answer and its note {bites} times", jobs=len(ids),
        sent=sum(got.values()), sent_again=sum(got.values()) - len(ids),
    )  # fmt: skip
    assert Counter(each.job for each in notes if each.state == "delivered") == Counter(dict.fromkeys(ids, 1))
    assert got.keys() == {f"job_{job}" for job in ids}
    assert sum(got.values()) >= len(ids) + bites
    assert not set(site.connects.read_text().split()) - site.allowed
