"""The events of a job: the present state first, each version that is seen, the end."""

import asyncio
import json
import random
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from server.http import events, waits
from server.jobs.model import Store, StoreUnavailable
from server.lifecycle import shut_down
from tests.bridge.conftest import until
from tests.server.conftest import Serve
from tests.server.fake_jobs import FakeStore
from tests.server.jobs_site import Events, Site, Worker

RETRY = {"retry": "2000"}


def job_of(event: dict[str, str] | None) -> Any:
    assert event is not None
    return json.loads(event["data"])


@pytest.mark.gen_test
async def test_the_present_state_comes_first_and_the_end_last(serve: Serve, worker: Worker) -> None:
    async with serve() as site:
        job_id = await site.posted()
        stream = await site.events(job_id)
        assert stream.status == 200
        assert "Content-Type: text/event-stream\r\n" in stream.head
        assert "Cache-Control: no-store\r\n" in stream.head and "X-Accel-Buffering: no\r\n" in stream.head
        assert await stream.next() == RETRY
        first = await stream.next()
        assert first is not None and (first["id"], first["event"]) == ("0", "progress")
        assert job_of(first) == json.loads((await site.fetch(f"/jobs/{job_id}")).body)
        await worker.claim(job_id)
        second = await stream.next()
        assert second is not None and (second["id"], job_of(second)["state"]) == ("1", "running")
        await worker.report(job_id, {"step": 1, "steps": 3})
        assert job_of(await stream.next())["progress"] == {"step": 1, "steps": 3}
        await worker.succeed(job_id, '{\n"n": 3\n}')
        last = await stream.next()
        assert last is not None and last["event"] == "done"
        assert (job_of(last)["state"], job_of(last)["result"]) == ("succeeded", {"n": 3})
        assert await stream.next() is None
        stream.close()
    assert len(site.app.watcher) == 0


@pytest.mark.gen_test
async def test_tornados_client_reads_it_to_its_end(serve: Serve, worker: Worker) -> None:
    async with serve() as site:
        job_id = await site.posted()
        chunks: list[bytes] = []
        request = HTTPRequest(f"http://127.0.0.1:{site.port}/jobs/{job_id}/events", streaming_callback=chunks.append)
        reading = asyncio.ensure_future(_fetch(request))
        await until(lambda: b"event: progress" in b"".join(chunks))
        await worker.claim(job_id)
        await worker.fail(job_id, {"type": "urn:problem-type:nowait:task-failed"})
        await reading
        assert b"".join(chunks).startswith(b"retry: 2000\n\n") and b"event: done" in b"".join(chunks)


async def _fetch(request: HTTPRequest) -> Any:
    return await AsyncHTTPClient(force_instance=True).fetch(request)


@pytest.mark.gen_test
async def test_a_job_that_has_ended_has_one_event_and_whoever_has_it_gets_204(serve: Serve, worker: Worker) -> None:
    async with serve() as site:
        job_id = await site.posted()
        await worker.claim(job_id)
        await worker.succeed(job_id, "3")
        stream = await site.events(job_id)
        retry, done = await stream.rest()
        assert (done["event"], done["id"]) == ("done", "2")
        again = await site.events(job_id, Last_Event_ID=done["id"])
        assert again.status == 204 and await again.rest() == []


@pytest.mark.gen_test
@pytest.mark.parametrize("last", ["0", "7", "x", "-1", "9" * 400])
async def test_a_reader_that_has_another_version_gets_the_last(last: str, serve: Serve, worker: Worker) -> None:
    async with serve() as site:
        job_id = await site.posted()
        await worker.claim(job_id)
        await worker.succeed(job_id, "3")
        stream = await site.events(job_id, Last_Event_ID=last)
        assert [event.get("id") for event in await stream.rest()] == [None, "2"]


@pytest.mark.gen_test
async def test_a_reader_that_has_the_present_version_waits_for_the_next(serve: Serve, worker: Worker) -> None:
    async with serve() as site:
        job_id = await site.posted()
        stream = await site.events(job_id, Last_Event_ID="0")
        assert await stream.next() == RETRY
        await worker.claim(job_id)
        event = await stream.next()
        assert event is not None and event["id"] == "1"
        stream.close()


@pytest.mark.gen_test
async def test_silence_has_comments(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "COMMENT_INTERVAL", 0.05)
    async with serve() as site:
        stream = await site.events(await site.posted(), Last_Event_ID="0")
        assert [await stream.next() for _ in range(3)] == [RETRY, {":": ""}, {":": ""}]
        stream.close()


@pytest.mark.gen_test
async def test_a_database_that_is_away_for_a_while_ends_no_stream(
    serve: Serve, fake: FakeStore, worker: Worker
) -> None:
    async with serve() as site:
        job_id = await site.posted()
        stream = await site.events(job_id)
        assert await stream.next() == RETRY and (await stream.next()) is not None
        fake.error = StoreUnavailable("away")
        await worker.claim(job_id)
        before = fake.calls.get("versions", 0)
        await until(lambda: fake.calls.get("versions", 0) > before)
        fake.error = None
        assert job_of(await stream.next())["state"] == "running"
        stream.close()


@pytest.mark.gen_test
async def test_the_stream_of_a_job_that_is_deleted_ends(serve: Serve, fake: FakeStore) -> None:
    async with serve() as site:
        job_id = await site.posted()
        stream = await site.events(job_id)
        assert await stream.next() == RETRY
        fake.remove(job_id)
        assert len(await stream.rest()) == 1
        assert (await site.fetch(f"/jobs/{job_id}/events")).code == 404


@pytest.mark.gen_test
async def test_a_reader_that_leaves_is_forgotten(serve: Serve) -> None:
    async with serve() as site:
        stream = await site.events(await site.posted())
        assert len(site.app.watcher) == 1
        stream.close()
        await until(lambda: len(site.app.watcher) == 0 and len(site.app.in_flight) == 0)


@pytest.mark.gen_test
async def test_streams_are_bounded(serve: Serve) -> None:
    async with serve(max_watchers=1) as site:
        job_id = await site.posted()
        stream = await site.events(job_id)
        second = await site.fetch(f"/jobs/{job_id}/events")
        assert second.code == 503 and second.headers["Retry-After"] == "1"
        assert json.loads(second.body)["type"] == "urn:problem-type:nowait:overloaded"
        stream.close()
        await until(lambda: len(site.app.watcher) == 0)
        third = await site.events(job_id)
        assert third.status == 200
        third.close()


@pytest.mark.gen_test
async def test_a_reader_that_does_not_read_is_disconnected(
    serve: Serve, fake: FakeStore, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "_READ_TIMEOUT", 0.2)
    async with serve() as site:
        job_id = await site.posted()
        stream = await site.events(job_id)
        await worker.claim(job_id)
        await worker.succeed(job_id, '"' + "x" * 20_000_000 + '"')
        await until(lambda: len(site.app.watcher) == 0 and len(site.app.in_flight) == 0)
        stream.close()


@pytest.mark.gen_test
async def test_results_are_answered_as_long_as_there_is_room_for_them(serve: Serve, worker: Worker) -> None:
    async with serve(max_answer_bytes=1_000_000) as site:
        job_id = await site.posted()
        await worker.claim(job_id)
        await worker.succeed(job_id, f'"{"x" * 600_000}"')
        share = site.bridge.hold(500_000)
        response = await site.fetch(f"/jobs/{job_id}")
        assert (response.code, json.loads(response.body)["type"]) == (503, "urn:problem-type:nowait:overloaded")
        assert (await site.fetch(f"/jobs/{job_id}/events")).body == b"retry: 2000\n\n"
        share.release()
        for path in (f"/jobs/{job_id}", f"/jobs/{job_id}/events"):
            assert b"x" * 600_000 in (await site.fetch(path)).body
        site.bridge.hold(1_000_000).release()


@pytest.mark.gen_test
async def test_the_head_of_a_stream_is_that_of_its_get(serve: Serve) -> None:
    async with serve() as site:
        job_id = await site.posted()
        response = await site.fetch(f"/jobs/{job_id}/events", method="HEAD")
        assert (response.code, response.headers["Content-Type"]) == (200, "text/event-stream")
        assert (await site.fetch("/jobs")).code == 200


@pytest.mark.gen_test
async def test_a_server_that_stops_ends_its_streams_and_they_look_whole(serve: Serve) -> None:
    async with serve(shutdown_timeout=60.0) as site:
        job_id = await site.posted()
        stream = await site.events(job_id)
        assert await stream.next() == RETRY
        await shut_down(site.http, site.app, site.bridge, site.settings)
        assert len(await stream.rest()) == 1
        assert len(site.app.watcher) == 0


async def follow(site: Site, job_id: str, seed: random.Random) -> Any:
    """A reader that leaves at random, and comes again with what it has, as browsers do. Returns the last job."""
    last: dict[str, str] | None = None
    while True:
        stream: Events = await site.events(job_id, **({} if last is None else {"Last_Event_ID": last["id"]}))
        if stream.status == 204:
            stream.close()
            return job_of(last)
        patience = seed.randint(1, 4)
        versions = [] if last is None else [int(last["id"])]
        while patience and (event := await stream.next()) is not None:
            if "id" in event:
                last = event
                versions.append(int(event["id"]))
                patience -= 1
        assert versions == sorted(set(versions))
        stream.close()


@pytest.mark.gen_test
async def test_readers_that_come_again_at_random_end_with_the_row(serve: Serve, store: Store, worker: Worker) -> None:
    async with serve() as site:
        job_id = await site.posted()
        await worker.claim(job_id)
        readers = [asyncio.ensure_future(follow(site, job_id, random.Random(seed))) for seed in range(200)]
        for step in range(20):
            await asyncio.sleep(0.02)
            await worker.report(job_id, {"step": step})
            site.app.watcher.poke(job_id)
        await worker.succeed(job_id, "20")
        found = await asyncio.gather(*readers)
        document = json.loads((await site.fetch(f"/jobs/{job_id}")).body)
        assert document["result"] == 20 and found == [document] * 200
