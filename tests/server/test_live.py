"""The figures of a server: read while somebody looks, once for all."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from server.figures.lag import LoopLag
from server.live.merged import merged
from server.live.pulse import Pulse, TooManyLooks
from tests.bridge.conftest import until
from tests.server.fake_jobs import FakePublisher, FakeStore, FakeWorker
from tests.server.jobs_site import Events, Site, serving


async def _nothing() -> None:
    await asyncio.Event().wait()


def _pulse(limit: int = 10, interval: float = 0.001) -> Pulse:
    readings = iter(range(1_000_000))
    return Pulse(lambda: {"reading": next(readings)}, _nothing, limit, interval)


@pytest.mark.gen_test
async def test_all_who_look_get_the_same_readings() -> None:
    pulse = _pulse(interval=0.05)
    with pulse.look(), pulse.look():
        one, other = pulse.events(), pulse.events()
        first, second = await asyncio.gather(anext(one), anext(other))
        assert first == second == b'event: statistics\ndata: {"reading": 0}\n\n'
        await one.aclose()
        await other.aclose()


@pytest.mark.gen_test
async def test_nothing_is_read_where_nobody_looks() -> None:
    running = 0

    async def measure() -> None:
        nonlocal running
        running += 1
        try:
            await asyncio.Event().wait()
        finally:
            running -= 1

    pulse = Pulse(lambda: {}, measure, 10, 0.001)
    for _ in range(2):
        assert running == 0
        with pulse.look(), pulse.look():
            await until(lambda: running == 1)
        await until(lambda: running == 0)
    assert repr(pulse) == "<Pulse 0 looks>"


@pytest.mark.gen_test
async def test_who_takes_long_gets_the_newest_reading() -> None:
    pulse = _pulse()
    with pulse.look():
        async with aclosing(pulse.events()) as slow, aclosing(pulse.events()) as fast:
            await anext(slow)
            for _ in range(20):
                newest = await anext(fast)
            assert _reading(await anext(slow)) >= _reading(newest)


def _reading(event: bytes) -> int:
    number: int = json.loads(event.split(b"data: ")[1])["reading"]
    return number


@pytest.mark.gen_test
async def test_figures_that_cannot_be_read_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    readings = iter([{"reading": 1}])

    def read() -> dict[str, int]:
        reading = next(readings, None)
        if reading is None:
            later = {"reading": 2}
            readings_after.append(later)
            if len(readings_after) < 3:
                raise OSError("no figures")
            return later
        return reading

    readings_after: list[dict[str, int]] = []
    pulse = Pulse(read, _nothing, 10, 0.001)
    with pulse.look():
        async with aclosing(pulse.events()) as events:
            assert [_reading(await asyncio.wait_for(anext(events), 20)) for _ in range(2)] == [1, 2]
    assert "no figures" in caplog.text


@pytest.mark.gen_test
async def test_as_many_look_as_may() -> None:
    pulse = _pulse(limit=1)
    with pulse.look():
        with pytest.raises(TooManyLooks), pulse.look():
            pass
    with pulse.look():
        pass


@pytest.mark.gen_test
async def test_a_pulse_that_is_closed_ends_its_events() -> None:
    pulse = _pulse(interval=60)
    with pulse.look():
        events = asyncio.create_task(_all(pulse.events()))
        await asyncio.sleep(0)
        pulse.close()
        assert await events == []
        assert await _all(pulse.events()) == []


@pytest.mark.gen_test
async def test_a_loop_that_is_blocked_is_late() -> None:
    lag = LoopLag(0.001)
    measuring = asyncio.create_task(lag.run())
    await asyncio.sleep(0.01)
    time.sleep(0.3)
    assert lag.take() >= 0.2, "the timer has not come yet, and is late already"
    await asyncio.sleep(0.01)
    assert lag.take() >= 0.2
    measuring.cancel()
    await asyncio.wait([measuring])
    lag.take()
    assert lag.take() == 0.0


async def _all(events: AsyncGenerator[bytes, None]) -> list[bytes]:
    return [event async for event in events]


@pytest.mark.gen_test
async def test_merged_streams_end_when_all_have_ended() -> None:
    async def some(*values: bytes) -> AsyncGenerator[bytes, None]:
        for value in values:
            yield value

    assert sorted(await _all(merged(some(b"1", b"2"), some(), some(b"3")))) == [b"1", b"2", b"3"]


@pytest.mark.gen_test
async def test_merged_streams_are_closed_together() -> None:
    closed = []

    async def endless(name: str) -> AsyncGenerator[bytes, None]:
        try:
            yield name.encode()
            await asyncio.Event().wait()
        finally:
            closed.append(name)

    async def failing() -> AsyncGenerator[bytes, None]:
        yield b"once"
        raise LookupError

    streams = merged(endless("one"), endless("other"))
    async with aclosing(streams):
        await anext(streams)
    assert sorted(closed) == ["one", "other"]
    with pytest.raises(LookupError):
        await _all(merged(endless("one"), failing()))
    assert sorted(closed) == ["one", "one", "other"]


async def _open(site: Site, path: str = "/live/events", *headers: str) -> Events:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write("\r\n".join([f"GET {path} HTTP/1.0", "Host: h", *headers, "", ""]).encode())
    head = await reader.readuntil(b"\r\n\r\n")
    return Events(head.decode(), reader, writer)


async def _next(events: Events, name: str) -> dict[str, Any]:
    """The data of the next event of that name."""
    while True:
        event = await events.next()
        assert event is not None
        if event.get("event") == name:
            document: dict[str, Any] = json.loads(event["data"])
            return document


@pytest.mark.gen_test
async def test_the_figures_come_each_second() -> None:
    async with serving(FakeStore(), FakePublisher(), demo=True, broker_url="amqp://127.0.0.1:1//") as site:
        events = await _open(site)
        assert events.status == 200 and "text/event-stream" in events.head
        figures = await _next(events, "statistics")
        assert figures.keys() == {"process", "processes", "lag", "in_flight", "broker", "queues", "messages"}
        assert figures["in_flight"] == site.bridge.in_flight
        assert (figures["broker"], figures["queues"]) == ("connected", None)
        assert figures["messages"] == [{"name": "parcels", "waiting": None, "consumers": None, "bound": 100}]
        events.close()


@pytest.mark.gen_test
async def test_a_job_is_followed_on_the_same_stream() -> None:
    store = FakeStore()
    worker = FakeWorker(store)
    async with serving(store, FakePublisher(), demo=True, broker_url="amqp://127.0.0.1:1//") as site:
        job_id = await site.posted()
        events = await _open(site, f"/live/events?job={job_id}")
        assert (await _next(events, "job"))["state"] == "queued"
        await worker.claim(job_id)
        await worker.succeed(job_id, "3")
        while (job := await _next(events, "job"))["state"] != "succeeded":
            pass
        assert job["result"] == 3
        await _next(events, "statistics")
        events.close()


async def _published(site: Site, value: str) -> None:
    headers = {"Content-Type": "application/json"}
    assert (await site.fetch("/topics/news", method="POST", body=json.dumps(value), headers=headers)).code == 202


async def _message(events: Events) -> tuple[str, Any]:
    """The id and the value of the next message of a topic."""
    while (event := await events.next()) is not None:
        if event.get("event") == "topic":
            return event["id"], json.loads(event["data"])["data"]
    raise AssertionError("the stream has ended")


@pytest.mark.gen_test
async def test_a_topic_is_followed_on_the_same_stream_which_goes_on_behind_its_last_id() -> None:
    async with serving(FakeStore(), FakePublisher(), demo=True, broker_url="amqp://127.0.0.1:1//") as site:
        events = await _open(site, "/live/events?topics=none,news")
        while "id" not in (await events.next() or {}):
            pass  # where it begins
        await _published(site, "first")
        first, value = await _message(events)
        assert value == "first"
        await _next(events, "statistics")
        events.close()
        await _published(site, "second")
        second = await _open(site, f"/live/events?topics=news&since={first}")
        last, value = await _message(second)
        assert value == "second"
        second.close()
        await _published(site, "third")
        third = await _open(site, f"/live/events?topics=news&since={first}", f"Last-Event-ID: {last}")
        assert (await _message(third))[1] == "third"
        third.close()
        assert (await site.fetch("/live/events?topics=news&since=-1")).code == 400


@pytest.mark.gen_test
async def test_a_stream_without_its_topic_ends_as_its_page_comes_again() -> None:
    async with serving(FakeStore(), FakePublisher(), demo=True, broker_url="amqp://127.0.0.1:1//") as site:
        events = await _open(site, "/live/events?topics=news")
        site.app.topics.close()
        await events.rest()


@pytest.mark.gen_test
async def test_a_subscriber_that_is_one_too_many_is_503() -> None:
    options: dict[str, Any] = {"demo": True, "max_subscribers": 1, "broker_url": "amqp://127.0.0.1:1//"}
    async with serving(FakeStore(), FakePublisher(), **options) as site:
        events = await _open(site, "/live/events?topics=news")
        assert (await site.fetch("/live/events?topics=news")).code == 503
        events.close()


@pytest.mark.gen_test
async def test_a_server_that_stops_ends_the_stream() -> None:
    async with serving(FakeStore(), FakePublisher(), demo=True, broker_url="amqp://127.0.0.1:1//") as site:
        events = await _open(site, "/live/events?job=01234567-89ab-7def-8123-456789abcdef")
        site.app.stop_waiting()
        assert await events.rest() in ([], [{"retry": "2000"}])


@pytest.mark.gen_test
async def test_a_stream_that_is_one_too_many_is_503() -> None:
    options: dict[str, Any] = {"demo": True, "max_watchers": 1, "broker_url": "amqp://127.0.0.1:1//"}
    async with serving(FakeStore(), FakePublisher(), **options) as site:
        events = await _open(site)
        assert (await site.fetch("/live/events")).code == 503
        assert (await site.fetch("/live/events?job=1")).code == 400
        assert (await site.fetch("/live/events?job=a&job=b")).code == 400
        events.close()


@pytest.mark.gen_test
async def test_head_brings_no_stream() -> None:
    async with serving(FakeStore(), FakePublisher(), demo=True, broker_url="amqp://127.0.0.1:1//") as site:
        response = await site.fetch("/live/events", method="HEAD")
        assert (response.code, response.body) == (200, b"")
