"""The deliverer, with a real database and real receivers: what is due is sent, once noted, to nobody who is refused."""

import asyncio
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from sqlalchemy.dialects import mysql
from standardwebhooks import Webhook

from nowait.jobs import protocol
from nowait.jobs.table import Delivery
from nowait.testing import FakeBridge
from server.jobs.connections import Connections
from server.jobs.database import DatabaseStore
from server.jobs.model import MAX_LISTED, NotEnded
from server.jobs.publisher import TaskPublisher
from server.jobs.relay import Relay
from server.settings import Settings
from server.webhooks import deliveries, outcome, resolver, sender
from server.webhooks.addresses import AllowList
from server.webhooks.deliverer import Deliverer
from server.webhooks.resolver import AddressRefused, GuardedResolver
from server.webhooks.sender import Sender
from server.webhooks.signing import Signer, new_secret
from server.webhooks.slots import Standing
from server.webhooks.url import check
from tests.bridge.conftest import until
from tests.faults.receivers import BUFFERED, INNER, METADATA, PUBLIC, Connects, Names, Receivers
from tests.server.conftest import Rows, connections, new_job, rows

__all__ = ["rows"]
pytestmark = pytest.mark.gen_test
T = 30.0  # seconds: far more than a call takes
SECRET = new_secret()


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses and ports that this process has connected to."""
    found: list[str] = []
    connects = Connects(found.append)
    monkeypatch.setattr(socket.socket, "connect", lambda sock, address: connects.connect(sock, address))
    return found


class Scene:
    """A server's part of webhooks.

    Attributes:
        deliverer, relay, store: all on one database.
    """

    def __init__(self, opened: Connections, receivers: Receivers) -> None:
        self.receivers = receivers
        tls = ssl.create_default_context()
        receivers.ca.configure_trust(tls)
        allowed = AllowList.parse(receivers.allowed)
        each = Sender(GuardedResolver(allowed, Names(receivers.addresses)), Signer([SECRET]), tls)
        self.deliverer = Deliverer(opened, each, lambda name: True, partial(check, allowed=allowed))
        publisher = TaskPublisher(FakeBridge({}, queues=["queries.jobs"]))
        self.relay = Relay(opened, publisher, Settings().retention, self.deliverer.hurry)
        self.store = DatabaseStore(opened, 10_000)

    async def ended(self, name: str) -> str:
        """The id of a job that has ended, whose webhook is that of a receiver."""
        job, _ = await self.store.add(new_job(countdown=3600, webhook=self.receivers.url(name)), T)
        await self.store.cancel(job.id, "", T)
        return job.id

    async def webhook(self, job_id: str) -> Any:
        """What has become of it."""
        job = await self.store.get(job_id, "", T)
        assert job is not None
        return job.webhook


@asynccontextmanager
async def scene(url: str, good: int = 1, running: bool = True) -> AsyncIterator[Scene]:
    async with Receivers(good).listening() as receivers, connections(url) as opened:
        each = Scene(opened, receivers)
        loops = [asyncio.create_task(loop.run()) for loop in (each.relay, each.deliverer)] if running else []
        try:
            yield each
        finally:
            for loop in loops:
                loop.cancel()
            if loops:
                await asyncio.wait(loops)
            await each.deliverer.close()


async def test_the_end_of_a_job_is_delivered_once_and_noted(database_url: str, rows: Rows) -> None:
    async with scene(database_url) as each:
        job_id = await each.ended("good0.test")
        await until(lambda: bool(rows.run("SELECT 1 FROM deliveries WHERE state = 'delivered'")))
        job = await each.store.get(job_id, "", T)
        assert job is not None and job.webhook is not None
        assert (job.webhook.attempts, job.webhook.next, job.webhook.outcome) == (1, None, "http-204")
        assert job.version == 2  # the end, and the note
    ((_, headers, body),) = each.receivers.got["good0.test"]
    message = Webhook(SECRET).verify(body, headers)
    assert headers["webhook-id"] == f"job_{job_id}"
    assert headers["content-type"] == "application/json" and headers["host"] == f"good0.test:{each.receivers.port}"
    assert message["type"] == "job.cancelled" and message["data"]["id"] == job_id and message["data"]["once"] is True
    assert 3500 < rows[job_id]["due_in"] <= 7 * 86400


async def test_no_other_receiver_gets_more_than_it_should(
    database_url: str, rows: Rows, connected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "_TIMEOUT", 2.0)
    expected = {
        "500": "http-500", "hang": "timeout", "trickle": "timeout", "redirect": "http-302", "flood": "broken-answer",
        "gone": "http-410", "certificate": "tls", "down": "unreachable", "rebinding": "unreachable",
        "metadata": "address-refused",
    }  # fmt: skip
    async with scene(database_url, good=2) as each:
        ids = {name: await each.ended(f"{name}.test") for name in expected}
        good = [await each.ended(f"good{n % 2}.test") for n in range(20)]
        await until(lambda: rows.run("SELECT COUNT(outcome) AS n FROM deliveries")[0]["n"] == len(expected) + 20, 20)
        found = {name: await each.webhook(job_id) for name, job_id in ids.items()}
        assert {name: webhook.outcome for name, webhook in found.items()} == expected
        pending = {name for name, webhook in found.items() if webhook.state is Delivery.PENDING}
        assert pending == expected.keys() - {"gone"} and found["gone"].state is Delivery.FAILED
        assert all(webhook.next is not None for name, webhook in found.items() if name in pending)
        # The name leads to an inner address now.
        rows.run("UPDATE deliveries SET due = UTC_TIMESTAMP(6) WHERE job_id = %s", ids["rebinding"])
        refused = "SELECT 1 FROM deliveries WHERE attempt = 2 AND outcome = 'address-refused'"
        await until(lambda: bool(rows.run(refused)))
        assert [(await each.webhook(job_id)).state for job_id in good] == [Delivery.DELIVERED] * 20
    assert sum(len(each.receivers.got[name]) for name in each.receivers.good) == 20
    assert 0 < each.receivers.flooded < len(each.receivers.got["flood.test"]) * BUFFERED
    assert connected.count(f"{PUBLIC}:443") == 1 and f"{INNER}:443" not in connected
    assert not [address for address in connected if address.startswith(METADATA)]


async def test_without_the_guard_inner_addresses_would_be_reached(connected: list[str]) -> None:
    """The check above bites."""
    receivers = Receivers(1)
    each = Sender(GuardedResolver(AllowList.parse("0.0.0.0/0"), Names(receivers.addresses)), Signer([SECRET]))
    assert (await each.send(receivers.url("metadata.test"), "job_1", b"{}")).kind == "unreachable"
    each.close()
    assert connected == [f"{METADATA}:443"]


async def test_a_delivery_is_sent_again_once_its_time_has_come_and_given_up_at_last(
    database_url: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome, "PAUSES", (0.3, 0.6))
    async with scene(database_url) as each:
        job_id = await each.ended("500.test")
        await until(lambda: bool(rows.run("SELECT 1 FROM deliveries WHERE state = 'failed'")))
        webhook = await each.webhook(job_id)
    assert (webhook.attempts, webhook.next, webhook.outcome) == (3, None, "http-500")
    moments = [moment for moment, _, _ in each.receivers.got["500.test"]]
    assert moments[1] - moments[0] >= 0.27 and moments[2] - moments[1] >= 0.54
    assert len({headers["webhook-id"] for _, headers, _ in each.receivers.got["500.test"]}) == 1


async def test_a_defect_is_an_outcome_and_the_schedule_goes_on(
    database_url: str, rows: Rows, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outcome, "PAUSES", (0.1,))

    async def fails(*_: Any) -> Any:
        raise LookupError("a defect")

    async with scene(database_url) as each:
        monkeypatch.setattr(each.deliverer._sender, "send", fails)
        job_id = await each.ended("good0.test")
        await until(lambda: bool(rows.run("SELECT 1 FROM deliveries WHERE state = 'failed'")))
        webhook = await each.webhook(job_id)
    assert (webhook.attempts, webhook.outcome) == (2, "error")
    assert caplog.text.count("LookupError: a defect") == 2


async def test_attempts_that_nobody_has_noted_use_up_nothing_of_the_schedule(
    database_url: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome, "PAUSES", (0.1, 0.1))
    async with scene(database_url, running=False) as each:
        job_id = await each.ended("500.test")
        delivery = "(job_id, state, due, attempt) VALUES (%s, 'pending', UTC_TIMESTAMP(6), 9)"
        rows.run(f"INSERT INTO deliveries {delivery}", job_id)
        for state in ("pending", "pending", "failed"):
            await until(lambda: bool(rows.run("SELECT 1 FROM deliveries WHERE due <= UTC_TIMESTAMP(6)")))
            failures = rows.run("SELECT failures FROM deliveries")[0]["failures"]
            await each.deliverer._look()
            await until(lambda: rows.run("SELECT failures FROM deliveries")[0]["failures"] == failures + 1)
            assert (await each.webhook(job_id)).state.value == state
        assert (await each.webhook(job_id)).attempts == 12


async def test_what_nobody_has_noted_is_sent_again_under_the_same_id(
    database_url: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the server had been lost between the answer and the note: the late one changes nothing."""
    async with scene(database_url, running=False) as each:
        job_id = await each.ended("good0.test")
        rows.run("INSERT INTO deliveries (job_id, state, due) VALUES (%s, 'pending', UTC_TIMESTAMP(6))", job_id)
        notes: list[deliveries.Attempt] = []

        async def lost(attempt: deliveries.Attempt, _: Any) -> None:
            notes.append(attempt)

        with monkeypatch.context() as patch:
            patch.setattr(each.deliverer, "_note", lost)
            await each.deliverer._look()
            await until(lambda: len(notes) == 1)
        assert (await each.webhook(job_id)).attempts == 1
        await each.deliverer._look()
        assert len(each.receivers.got["good0.test"]) == 1  # the lease
        rows.run("UPDATE deliveries SET due = UTC_TIMESTAMP(6)")
        await each.deliverer._look()
        late = deliveries.note(notes[0], Delivery.FAILED, 0.0, "late")
        await each.deliverer._connections.transaction(lambda connection: connection.execute(late), T)
        await until(lambda: bool(rows.run("SELECT 1 FROM deliveries WHERE state = 'delivered' AND attempt = 2")))
        assert rows[job_id]["version"] == 2
    assert [headers["webhook-id"] for _, headers, _ in each.receivers.got["good0.test"]] == [f"job_{job_id}"] * 2


async def test_long_parameters_are_left_to_be_fetched(database_url: str, rows: Rows) -> None:
    async with scene(database_url) as each:
        ids = []
        for length in (10, MAX_LISTED):
            webhook = each.receivers.url("good0.test")
            job, _ = await each.store.add(new_job(countdown=3600, webhook=webhook, parameters={"x": "x" * length}), T)
            await each.store.cancel(job.id, "", T)
            ids.append(job.id)
        await until(lambda: len(rows.run("SELECT 1 FROM deliveries WHERE state = 'delivered'")) == 2)
    got = [json.loads(body)["data"] for _, _, body in each.receivers.got["good0.test"]]
    assert {data["id"]: data["parameters"] for data in got} == dict(zip(ids, [{"x": "x" * 10}, None]))


async def test_an_attempt_that_is_noted_twice_has_failed_once(database_url: str, rows: Rows) -> None:
    async with scene(database_url, running=False) as each:
        job_id = await each.ended("good0.test")
        rows.run("INSERT INTO deliveries (job_id, state, due) VALUES (%s, 'pending', UTC_TIMESTAMP(6))", job_id)
        (attempt,) = (await each.deliverer._connections.transaction(partial(each.deliverer._begin, 10), T)).begun
        note = deliveries.note(attempt, Delivery.PENDING, 60.0, "http-500")
        for _ in range(2):
            await each.deliverer._connections.transaction(lambda connection: connection.execute(note), T)
    assert rows.run("SELECT failures, outcome FROM deliveries") == [{"failures": 1, "outcome": "http-500"}]


async def test_a_webhook_is_sent_again_when_a_client_wants_it(database_url: str, rows: Rows) -> None:
    async with scene(database_url) as each:
        waiting, _ = await each.store.add(new_job(countdown=3600, webhook=each.receivers.url("good0.test")), T)
        with pytest.raises(NotEnded):
            await each.store.redeliver(waiting.id, "", T)
        without, _ = await each.store.add(new_job(), T)
        assert await each.store.redeliver(without.id, "", T) == without
        assert await each.store.redeliver("0193", "", T) is None
        job_id = await each.ended("good0.test")
        await until(lambda: bool(rows.run("SELECT 1 FROM deliveries WHERE state = 'delivered'")))
        job = await each.store.redeliver(job_id, "", T)
        assert job is not None and job.webhook is not None and job.webhook.state is Delivery.PENDING
        await until(lambda: bool(rows.run("SELECT 1 FROM deliveries WHERE state = 'delivered' AND attempt = 2")))
    assert [headers["webhook-id"] for _, headers, _ in each.receivers.got["good0.test"]] == [f"job_{job_id}"] * 2


async def test_one_that_is_wanted_again_is_sent_again_whatever_comes_of_an_attempt_under_way(
    database_url: str, rows: Rows
) -> None:
    async with scene(database_url, running=False) as each:
        job_id = await each.ended("good0.test")
        rows.run("INSERT INTO deliveries (job_id, state, due) VALUES (%s, 'pending', UTC_TIMESTAMP(6))", job_id)
        under_way = (await each.deliverer._connections.transaction(partial(each.deliverer._begin, 10), T)).begun
        await each.store.redeliver(job_id, "", T)
        await each.deliverer._note(under_way[0], outcome.Outcome("http-204", 204))
        await each.deliverer._look()
        await until(lambda: bool(rows.run("SELECT 1 FROM deliveries WHERE state = 'delivered' AND attempt = 2")))
    assert len(each.receivers.got["good0.test"]) == 1


async def test_a_job_that_is_tried_again_has_another_end_to_be_delivered(database_url: str, rows: Rows) -> None:
    async with scene(database_url) as each:
        job_id = await each.ended("good0.test")
        rows.run("UPDATE jobs SET state = 'failed', attempt = 6, failures = 1, error = '{}' WHERE id = %s", job_id)
        await until(lambda: bool(rows.run("SELECT 1 FROM deliveries WHERE state = 'delivered'")))
        job = await each.store.retry(job_id, "", T)
        assert job is not None and job.webhook is not None
        assert (job.state.value, job.attempt, job.failures, job.error, job.finished) == ("queued", 6, 1, None, None)
        assert (job.webhook.state, job.webhook.attempts) == (Delivery.PENDING, 0)
        assert await each.store.retry(job_id, "", T) == job
        await each.store.cancel(job_id, "", T)
        await until(lambda: len(each.receivers.got["good0.test"]) == 2)
    ids = [headers["webhook-id"] for _, headers, _ in each.receivers.got["good0.test"]]
    assert ids == [f"job_{job_id}", f"job_{job_id}_1"]


async def test_a_job_that_has_a_delivery_keeps_it(database_url: str, rows: Rows) -> None:
    async with scene(database_url, running=False) as each:
        job_id = await each.ended("good0.test")
        rows.run("INSERT INTO deliveries (job_id, state, attempt) VALUES (%s, 'delivered', 3)", job_id)
        deliver = protocol.deliver([job_id])
        await each.deliverer._connections.transaction(lambda connection: connection.execute(deliver), T)
        webhook = await each.webhook(job_id)
    assert (webhook.state, webhook.attempts, webhook.next) == (Delivery.DELIVERED, 3, None)


async def test_a_large_result_is_left_out(database_url: str, rows: Rows) -> None:
    async with scene(database_url) as each:
        small, large = [await each.ended("good0.test") for _ in range(2)]
        for job_id, result in ((small, '"' + "x" * 19_000 + '"'), (large, '"' + "x" * 21_000 + '"')):
            rows.run("UPDATE jobs SET state = 'succeeded', result = %s WHERE id = %s", result, job_id)
        await until(lambda: len(each.receivers.got["good0.test"]) == 2)
    data = {each["id"]: each for each in (json.loads(body)["data"] for _, _, body in each.receivers.got["good0.test"])}
    assert len(data[small]["result"]) == 19_000 and "result" not in data[large]


async def test_a_job_that_somebody_has_deleted_is_not_delivered(database_url: str, rows: Rows) -> None:
    async with scene(database_url) as each:
        rows.run("INSERT INTO deliveries (job_id, state, due) VALUES (UUID(), 'pending', UTC_TIMESTAMP(6))")
        job_id = await each.ended("good0.test")
        await until(lambda: len(each.receivers.got["good0.test"]) == 1)
        await until(lambda: not rows.run("SELECT 1 FROM deliveries WHERE job_id <> %s", job_id))


async def test_a_receiver_that_hangs_holds_up_no_other(database_url: str, rows: Rows) -> None:
    async with scene(database_url, good=1) as each:
        hanging = [await each.ended("hang.test") for _ in range(50)]
        await until(lambda: len(each.receivers.got["hang.test"]) == 2)
        good = [await each.ended("good0.test") for _ in range(20)]
        await until(lambda: len(each.receivers.got["good0.test"]) == len(good), 14.0)
        found = [await each.webhook(job_id) for job_id in hanging]
        assert {webhook.outcome for webhook in found} == {None}  # none of these is over
        assert sorted(webhook.attempts for webhook in found) == [0] * 48 + [1] * 2  # to be postponed is no attempt


async def test_any_answer_in_time_is_that_of_a_host_that_gets_the_next_ones(database_url: str, rows: Rows) -> None:
    async with scene(database_url) as each:
        await each.ended("500.test")
        await until(lambda: bool(rows.run("SELECT 1 FROM deliveries WHERE outcome = 'http-500'")))
    assert each.deliverer._slots._hosts["500.test"].standing is Standing.GOOD


async def test_a_server_that_has_just_begun_takes_a_host_for_what_the_last_attempts_found(
    database_url: str, rows: Rows
) -> None:
    async with scene(database_url, running=False) as each:
        for name, kind in (("hang.test", "timeout"), ("good0.test", "http-500")):
            for _ in range(5):
                values = (await each.ended(name), kind)
                rows.run("INSERT INTO deliveries (job_id, state, due, attempt, outcome) VALUES (%s, 'pending', "
                         "UTC_TIMESTAMP(6), 1, %s)", *values)  # fmt: skip
        await each.deliverer._look()
        begun = rows.run("SELECT outcome FROM deliveries WHERE attempt = 2 ORDER BY outcome")
    assert [row["outcome"] for row in begun] == ["http-500"] * 2 + ["timeout"]


@pytest.mark.parametrize("url", ["https://a[2606:4700::1]/", "http://a.example/", "https://a:x/", "https:///", ""])
async def test_a_url_that_is_allowed_no_more_is_refused_and_stops_no_other(
    database_url: str, rows: Rows, connected: list[str], url: str
) -> None:
    async with scene(database_url) as each:
        job, _ = await each.store.add(new_job(countdown=3600, webhook=url), T)
        await each.store.cancel(job.id, "", T)
        await each.ended("good0.test")
        await until(lambda: len(rows.run("SELECT 1 FROM deliveries WHERE outcome IS NOT NULL")) == 2)
        assert (await each.webhook(job.id)).outcome == "address-refused"
    assert len(each.receivers.got["good0.test"]) == 1
    assert [address for address in connected if address.endswith(":443") or address.endswith(":80")] == []


async def test_rows_that_are_locked_hold_up_neither_side(database_url: str, rows: Rows) -> None:
    """Relay and deliverer read each other's tables, and lock only their own."""
    async with scene(database_url, running=False) as each:
        one = await each.ended("good0.test")
        rows.run("INSERT INTO deliveries (job_id, state, due) VALUES (%s, 'pending', UTC_TIMESTAMP(6))", one)

        async def delivering(connection: Any) -> None:
            assert len((await connection.execute(deliveries.due(10))).all()) == 1
            rows.run("UPDATE jobs SET version = version + 1 WHERE id = %s", one)

        async def relaying(connection: Any) -> None:
            assert len((await connection.execute(protocol.due(10))).all()) == 1
            rows.run("UPDATE deliveries SET attempt = attempt + 1 WHERE job_id = %s", one)

        await each.deliverer._connections.transaction(delivering, T)
        await each.deliverer._connections.transaction(relaying, T)


async def test_a_note_locks_the_job_before_its_delivery(database_url: str, rows: Rows) -> None:
    async with scene(database_url, running=False) as each:
        job_id = await each.ended("good0.test")
        rows.run("INSERT INTO deliveries (job_id, state, due) VALUES (%s, 'pending', UTC_TIMESTAMP(6))", job_id)
        (attempt,) = (await each.deliverer._connections.transaction(partial(each.deliverer._begin, 10), T)).begun
        note = deliveries.note(attempt, Delivery.DELIVERED, 0.0, "http-204")
        dialect = mysql.dialect()  # type: ignore[no-untyped-call]
        assert str(note.compile(dialect=dialect)).startswith("UPDATE jobs, deliveries SET ")
        rows.run("BEGIN")
        rows.run("SELECT id FROM jobs WHERE id = %s FOR UPDATE", job_id)
        noting = asyncio.create_task(each.deliverer._note(attempt, outcome.Outcome("http-204", 204)))
        waiting = "SELECT 1 FROM information_schema.processlist WHERE info LIKE 'UPDATE jobs, deliveries%'"
        await until(lambda: bool(rows.run(waiting)))
        rows.run("SELECT job_id FROM deliveries WHERE job_id = %s FOR UPDATE NOWAIT", job_id)
        rows.run("COMMIT")
        await noting
        assert (await each.webhook(job_id)).state is Delivery.DELIVERED


async def test_a_name_that_is_slow_to_look_up_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []

    def lookup(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        looked_up.append(host)
        if host.startswith("slow"):
            time.sleep(1.0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port))]

    monkeypatch.setattr(resolver, "MAX_LOOKUPS", 3)
    each = GuardedResolver(AllowList(), lookup)
    slow = [asyncio.ensure_future(each.resolve(f"slow{n}", 443)) for n in (1, 2, 2, 2)]
    assert await each.resolve("quick", 443) == [(socket.AF_INET, ("8.8.8.8", 443))]
    assert not any(task.done() for task in slow)
    slow.append(asyncio.ensure_future(each.resolve("slow3", 443)))
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="too many"):
        await each.resolve("quick", 443)
    slow[1].cancel()
    assert await slow[2] == await slow[0]
    await asyncio.gather(*slow[2:])
    assert sorted(looked_up) == ["quick", "slow1", "slow2", "slow3"]


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "::1", "0"]
)
async def test_no_spelling_of_an_inner_address_gets_through(host: str) -> None:
    with pytest.raises(AddressRefused):
        await GuardedResolver(AllowList()).resolve(host, 443)


async def test_a_name_with_a_dot_is_looked_up_in_no_other_domain_and_has_eight_addresses() -> None:
    looked_up: list[str] = []

    def lookup(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        looked_up.append(host)
        return [(2, 1, 6, "", (f"8.8.8.{n}", port)) for n in range(20)]

    each = GuardedResolver(AllowList.parse("hooks.internal"), lookup)
    for host in ("a.example", "a.example.", "hooks.internal", "localhost", "127.1", "2606:4700::1", "::ffff:8.8.8.8"):
        assert len(await each.resolve(host, 443)) == 8
    assert looked_up == [
        "a.example.", "a.example.", "hooks.internal", "localhost", "127.1", "2606:4700::1", "::ffff:8.8.8.8",
    ]  # fmt: skip


async def test_of_several_addresses_only_those_that_are_allowed_are_used() -> None:
    found = ["10.0.0.1", "8.8.8.8", "169.254.169.254"]
    each = GuardedResolver(AllowList(), lambda host, port, **_: [(2, 1, 6, "", (text, port)) for text in found])
    assert await each.resolve("a.example", 443) == [(2, ("8.8.8.8", 443))]
    with pytest.raises(AddressRefused):
        await each.resolve("a.example", 80)
