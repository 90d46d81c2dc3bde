"""The routes of jobs over real HTTP: each answer of the contract."""

import asyncio
import base64
import json
import logging
from typing import Any

import pytest

from nowait.jobs.ids import new_id
from nowait.jobs.table import State
from server.jobs.model import MAX_LISTED, SchemaMissing, Store, StoreUnavailable
from tests.bridge.conftest import until
from tests.server.conftest import Serve
from tests.server.fake_jobs import FakePublisher, FakeStore
from tests.server.jobs_site import COUNT, Worker, problem

OWNER = ""


async def state(store: Store, job_id: str) -> State | None:
    job = await store.get(job_id, OWNER, 2.0)
    return None if job is None else job.state


@pytest.mark.gen_test
async def test_a_job_is_accepted_and_a_worker_woken(serve: Serve, publisher: FakePublisher) -> None:
    async with serve() as site:
        response = await site.post({**COUNT, "countdown": 60, "expires": 3600})
        document = json.loads(response.body)
        assert response.code == 202
        assert response.headers["Location"] == document["urls"]["self"] == f"/jobs/{document['id']}"
        assert response.headers["Retry-After"] == "1"
        assert "Preference-Applied" not in response.headers and "Idempotent-Replayed" not in response.headers
        assert (document["state"], document["attempt"], document["result"]) == ("queued", 0, None)
        assert (document["name"], document["parameters"]) == ("slow_count", {"steps": 3})
        assert document["once"] is True
        assert document["next"] > document["created"] and document["expires"] > document["next"]
        assert publisher.sent == [(document["id"], None)]
        again = await site.fetch(response.headers["Location"])
        assert (again.code, json.loads(again.body)) == (200, document)


@pytest.mark.gen_test
async def test_parameters_may_be_nested_as_deep_as_they_are_taken(serve: Serve) -> None:
    note: Any = "Zoë \x00"
    for _ in range(29):
        note = [note]
    async with serve() as site:
        response = await site.post({"name": "slow_count", "parameters": {"steps": 1, "note": note}})
        assert (response.code, json.loads(response.body)["parameters"]["note"]) == (202, note)
        problem(await site.post({"name": "slow_count", "parameters": {"steps": 1, "note": [note]}}), 400)


@pytest.mark.gen_test
async def test_a_celery_task_is_a_job_that_may_run_twice(serve: Serve) -> None:
    async with serve() as site:
        assert json.loads((await site.post({"name": "mail.send"})).body)["once"] is False


@pytest.mark.gen_test
async def test_a_broker_that_is_away_is_no_matter_once_the_list_of_jobs_is_known(serve: Serve) -> None:
    async with serve() as site:
        await site.posted()
        site.bridge.state = "disconnected"
        await site.posted()


@pytest.mark.gen_test
async def test_without_any_list_of_jobs_there_is_no_telling_what_is_one(serve: Serve) -> None:
    async with serve() as site:
        site.bridge._queues = []
        response = await site.post(COUNT)
        problem(response, 503, "no-queue")
        assert response.headers["Retry-After"]


@pytest.mark.gen_test
async def test_workers_that_do_not_list_their_jobs_in_time_are_none(serve: Serve) -> None:
    async with serve(timeout=0.2) as site:
        site.bridge._tasks = {}
        problem(await site.post(COUNT), 503, "no-queue")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 400),
        ("{", 400),
        ("[" * 100_000, 400),
        ('{"name": NaN}', 400),
        (b'{"name": "\xff"}', 400),
        ("[]", 400),
        ({"name": "slow_count"}, 400),
        ({"name": "slow_count", "parameters": {"steps": 0}}, 400),
        ('{"name": "slow_count", "parameters": {"steps": 1e999}}', 400),
        ({**COUNT, "eta": "2026-11-25T06:00:00Z", "countdown": 1}, 400),
        ({**COUNT, "webhook": "http://127.0.0.1/"}, 400),
        ({"name": "close_month"}, 404),
        ({"name": "\ud800" * 1000}, 404),
        ("x" * 1_100_000, 413),
    ],
)
async def test_a_body_that_is_no_job_is_refused_and_nothing_is_kept(
    body: Any, status: int, serve: Serve, fake: FakeStore
) -> None:
    async with serve() as site:
        problem(await site.post(body), status)
    assert "add" not in fake.calls


@pytest.mark.gen_test
async def test_a_body_that_is_not_declared_as_json_is_415(serve: Serve) -> None:
    async with serve() as site:
        problem(await site.post(COUNT, Content_Type="text/plain"), 415)


@pytest.mark.gen_test
async def test_a_key_that_comes_again_is_answered_with_the_job_as_it_is(
    serve: Serve, worker: Worker, publisher: FakePublisher
) -> None:
    async with serve() as site:
        job_id = await site.posted(COUNT, Idempotency_Key='"k-1"')
        second = await site.post(COUNT, Idempotency_Key="k-1")
        assert (second.code, json.loads(second.body)["id"]) == (202, job_id)
        assert second.headers["Idempotent-Replayed"] == "true"
        await worker.claim(job_id)
        await worker.succeed(job_id, "3")
        third = await site.post(COUNT, Idempotency_Key="k-1")
        assert (third.code, json.loads(third.body)["result"]) == (200, 3)
        assert third.headers["Content-Location"] == f"/jobs/{job_id}"
        assert "Location" not in third.headers and "Retry-After" not in third.headers
    assert publisher.sent == [(job_id, None)]


@pytest.mark.gen_test
async def test_of_one_key_many_times_at_once_one_job_is_made(serve: Serve, publisher: FakePublisher) -> None:
    async with serve() as site:
        responses = await asyncio.gather(*(site.post(COUNT, Idempotency_Key="k") for _ in range(50)))
        assert len({json.loads(each.body)["id"] for each in responses}) == 1
        assert sum("Idempotent-Replayed" not in each.headers for each in responses) == 1
        assert len(publisher.sent) == 1


@pytest.mark.gen_test
async def test_a_key_with_another_request_is_422(serve: Serve) -> None:
    async with serve() as site:
        await site.posted(COUNT, Idempotency_Key="k")
        response = await site.post({**COUNT, "countdown": 1}, Idempotency_Key="k")
        problem(response, 422, "idempotency-key-reused")
        assert "Retry-After" not in response.headers


@pytest.mark.gen_test
async def test_a_key_whose_first_request_hangs_is_409(serve: Serve, fake: FakeStore) -> None:
    async with serve() as site:
        fake.busy.add("k")
        response = await site.post(COUNT, Idempotency_Key="k")
        problem(response, 409, "idempotency-key-in-use")
        assert response.headers["Retry-After"] == "1"


@pytest.mark.gen_test
@pytest.mark.parametrize("key", ['""', '"open', "x" * 256, "caf\u00e9"])
async def test_a_bad_key_is_400(key: str, serve: Serve, fake: FakeStore) -> None:
    async with serve() as site:
        assert "Idempotency-Key" in problem(await site.post(COUNT, Idempotency_Key=key), 400)["detail"]
    assert "add" not in fake.calls


@pytest.mark.gen_test
async def test_too_many_unfinished_jobs_are_429(serve: Serve, fake: FakeStore) -> None:
    fake._limit = 1
    async with serve() as site:
        await site.posted()
        response = await site.post(COUNT)
        problem(response, 429, "too-many-jobs")
        assert response.headers["Retry-After"] == "5"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/jobs"), ("GET", "/jobs"), ("GET", "/jobs/{}"), ("DELETE", "/jobs/{}"), ("GET", "/jobs/{}/events")],
)
async def test_a_database_that_is_away_is_503_on_each_route(
    method: str, path: str, serve: Serve, fake: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as site:
        job_id = await site.posted()
        fake.error = StoreUnavailable("secret@10.0.0.1 is away\nat all")
        body = json.dumps(COUNT) if method == "POST" else None
        json_type = {"Content-Type": "application/json"}
        with caplog.at_level(logging.ERROR, logger="server"):
            response = await site.fetch(path.format(job_id), method=method, body=body, headers=json_type)
        problem(response, 503, "jobs-unavailable")
        assert response.headers["Retry-After"] == "1" and b"secret" not in response.body
        assert any(r"is away\nat all" in line for line in caplog.messages)


@pytest.mark.gen_test
async def test_of_a_missing_table_the_client_is_referred_to_the_log(serve: Serve, fake: FakeStore) -> None:
    fake.error = SchemaMissing("the table of jobs is missing")
    async with serve() as site:
        assert "the server's log" in problem(await site.post(COUNT), 503, "jobs-schema")["detail"]


@pytest.mark.gen_test
async def test_a_job_that_ends_within_the_wait_is_the_answer(
    serve: Serve, worker: Worker, publisher: FakePublisher
) -> None:
    async with serve() as site:
        waiting = site.post(COUNT, Prefer="respond-async, wait=20")
        await until(lambda: bool(publisher.sent))
        (job_id, wait), = publisher.sent
        assert wait == 20.0
        await worker.claim(job_id)
        await worker.succeed(job_id, '{"n": 3}')
        publisher.answers[job_id].set_result(None)
        response = await waiting
        assert (response.code, json.loads(response.body)["result"]) == (200, {"n": 3})
        assert response.headers["Content-Location"] == f"/jobs/{job_id}"
        assert response.headers["Preference-Applied"] == "wait=20"
        assert "Location" not in response.headers and "Retry-After" not in response.headers


@pytest.mark.gen_test
async def test_an_answer_of_the_worker_has_the_job_looked_at_at_once(
    serve: Serve, worker: Worker, publisher: FakePublisher
) -> None:
    async with serve() as site:
        site.app.watcher._interval = 3600.0
        waiting = site.post(COUNT, Prefer="wait=20")
        await until(lambda: bool(publisher.sent))
        job_id = publisher.sent[0][0]
        await worker.claim(job_id)
        await worker.succeed(job_id, "3")
        publisher.answers[job_id].set_result(None)
        assert (await waiting).code == 200


@pytest.mark.gen_test
async def test_a_job_that_fails_within_the_wait_is_an_answer_as_any_other(
    serve: Serve, worker: Worker, publisher: FakePublisher
) -> None:
    async with serve() as site:
        waiting = site.post(COUNT, Prefer="wait=20")
        await until(lambda: bool(publisher.sent))
        await worker.claim(publisher.sent[0][0])
        await worker.fail(publisher.sent[0][0], {"type": "urn:problem-type:nowait:task-failed"})
        response = await waiting
        document = json.loads(response.body)
        assert (response.code, document["state"]) == (200, "failed")
        assert document["error"] == {"type": "urn:problem-type:nowait:task-failed"}


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("preference", "timeout", "applied"),
    [
        ("wait=0.1", 30.0, "wait=0.1"),
        ("respond-async, wait=0.1", 30.0, "respond-async, wait=0.1"),
        ("wait=100", 0.2, "wait=0.2"),
        ("respond-async", 30.0, "respond-async"),
        ("wait=0", 30.0, None),
        ("wait=soon", 30.0, None),
    ],
)
async def test_the_end_of_a_wait_is_202_with_what_was_applied(
    preference: str, timeout: float, applied: str | None, serve: Serve
) -> None:
    async with serve(timeout=timeout) as site:
        response = await site.post(COUNT, Prefer=preference)
        assert response.code == 202
        assert response.headers.get("Preference-Applied") == applied
        assert json.loads(response.body)["state"] == "queued"


@pytest.mark.gen_test
async def test_an_accepted_job_is_202_though_the_database_goes_away_during_the_wait(
    serve: Serve, fake: FakeStore, publisher: FakePublisher
) -> None:
    async with serve() as site:
        waiting = site.post(COUNT, Prefer="wait=0.5")
        await until(lambda: bool(publisher.sent))
        fake.error = StoreUnavailable("away")
        publisher.answers[publisher.sent[0][0]].set_result(None)
        assert (await waiting).code == 202


@pytest.mark.gen_test
async def test_as_many_wait_as_may_and_others_are_answered_at_once(serve: Serve, publisher: FakePublisher) -> None:
    async with serve(max_watchers=1) as site:
        first = site.post(COUNT, Prefer="wait=20")
        await until(lambda: len(site.app.watcher) == 1)
        second = await site.post(COUNT, Prefer="wait=20")
        assert second.code == 202 and "Preference-Applied" not in second.headers
        assert [wait for _, wait in publisher.sent] == [20.0, None]
        site.app.stop_waiting()
        assert (await first).headers["Preference-Applied"] == "wait=20"


@pytest.mark.gen_test
async def test_a_client_that_leaves_is_waited_for_no_longer(serve: Serve) -> None:
    async with serve() as site:
        _reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        body = json.dumps(COUNT)
        head = f"POST /jobs HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        writer.write(f"{head}\r\nPrefer: wait=20\r\n\r\n{body}".encode())
        await until(lambda: len(site.app.watcher) == 1)
        writer.transport.abort()
        await until(lambda: len(site.app.watcher) == 0 and len(site.app.in_flight) == 0)


@pytest.mark.gen_test
async def test_what_is_known_already_is_304(serve: Serve, worker: Worker) -> None:
    async with serve() as site:
        job_id = await site.posted()
        first = await site.fetch(f"/jobs/{job_id}")
        assert first.headers["Etag"] == 'W/"0"' and first.headers["Retry-After"] == "1"
        for tags in ('W/"0"', '"0"', 'W/"5", W/"0"', "*"):
            known = await site.fetch(f"/jobs/{job_id}", headers={"If-None-Match": tags})
            assert (known.code, known.body, known.headers["Etag"]) == (304, b"", 'W/"0"')
        await worker.claim(job_id)
        news = await site.fetch(f"/jobs/{job_id}", headers={"If-None-Match": 'W/"0"'})
        assert (news.code, news.headers["Etag"]) == (200, 'W/"1"')
        await worker.succeed(job_id, "3")
        last = await site.fetch(f"/jobs/{job_id}")
        assert json.loads(last.body)["state"] == "succeeded" and "Retry-After" not in last.headers


@pytest.mark.gen_test
async def test_a_get_waits_for_the_end(serve: Serve, worker: Worker) -> None:
    async with serve() as site:
        job_id = await site.posted()
        waiting = site.fetch(f"/jobs/{job_id}", headers={"Prefer": "wait=20"})
        await until(lambda: len(site.app.watcher) == 1)
        await worker.claim(job_id)
        site.app.watcher.poke(job_id)
        await worker.report(job_id, {"step": 1})
        await worker.succeed(job_id, "3")
        response = await waiting
        assert (response.code, json.loads(response.body)["result"]) == (200, 3)
        assert response.headers["Preference-Applied"] == "wait=20"


@pytest.mark.gen_test
async def test_a_get_with_a_version_waits_for_the_next(serve: Serve, worker: Worker) -> None:
    async with serve() as site:
        job_id = await site.posted()
        headers = {"Prefer": "wait=20", "If-None-Match": 'W/"0"'}
        waiting = site.fetch(f"/jobs/{job_id}", headers=headers)
        await until(lambda: len(site.app.watcher) == 1)
        await worker.claim(job_id)
        response = await waiting
        assert (response.code, json.loads(response.body)["state"]) == (200, "running")
        assert (await site.fetch(f"/jobs/{job_id}", headers=headers)).code == 200  # it is another by now


@pytest.mark.gen_test
@pytest.mark.parametrize(("tag", "status"), [(None, 200), ('W/"0"', 304)])
async def test_the_end_of_a_gets_wait_is_what_there_is(tag: str | None, status: int, serve: Serve) -> None:
    async with serve() as site:
        job_id = await site.posted()
        headers = {"Prefer": "wait=0.1"} | ({} if tag is None else {"If-None-Match": tag})
        assert (await site.fetch(f"/jobs/{job_id}", headers=headers)).code == status


@pytest.mark.gen_test
async def test_nobody_waits_for_another_version_of_a_job_that_has_ended(serve: Serve, worker: Worker) -> None:
    async with serve() as site:
        job_id = await site.posted()
        await worker.claim(job_id)
        await worker.succeed(job_id, "3")
        headers = {"Prefer": "wait=20", "If-None-Match": 'W/"2"'}
        assert (await site.fetch(f"/jobs/{job_id}", headers=headers)).code == 304


@pytest.mark.gen_test
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_large_result_is_passed_on_as_it_is(method: str, serve: Serve, worker: Worker) -> None:
    async with serve() as site:
        job_id = await site.posted()
        await worker.claim(job_id)
        await worker.succeed(job_id, '["' + "ü" * 2_000_000 + '", 1.50]')
        response = await site.fetch(f"/jobs/{job_id}", method=method)
        assert response.code == 200 and int(response.headers["Content-Length"]) > 4_000_000
        if method == "GET":
            assert json.loads(response.body)["result"] == ["ü" * 2_000_000, 1.5]
            assert b'", 1.50]' in response.body


@pytest.mark.gen_test
@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD"])
@pytest.mark.parametrize("suffix", ["", "/events"])
async def test_a_job_that_is_not_there_is_404(method: str, suffix: str, serve: Serve) -> None:
    async with serve() as site:
        for job_id in (new_id(), "x", "' OR 1=1 --".replace(" ", "%20"), new_id().upper()):
            response = await site.fetch(f"/jobs/{job_id}{suffix}", method=method)
            assert response.code in ((404, 405) if suffix and method == "DELETE" else (404,))


@pytest.mark.gen_test
async def test_other_methods_are_405(serve: Serve) -> None:
    async with serve() as site:
        for path, methods in (("/jobs", "GET, HEAD, POST"), (f"/jobs/{new_id()}", "GET, HEAD, DELETE")):
            response = await site.fetch(path, method="PUT", body="")
            problem(response, 405)
            assert set(response.headers["Allow"].split(", ")) == set(methods.split(", "))


@pytest.mark.gen_test
@pytest.mark.parametrize("claimed", [False, True])
async def test_a_job_is_cancelled_and_cancelled_again(
    claimed: bool, serve: Serve, store: Store, worker: Worker
) -> None:
    async with serve() as site:
        job_id = await site.posted()
        if claimed:
            await worker.claim(job_id)
        first = await site.fetch(f"/jobs/{job_id}", method="DELETE")
        document = json.loads(first.body)
        assert (first.code, document["state"], document["id"]) == (200, "cancelled", job_id)
        assert document["finished"] is not None
        second = await site.fetch(f"/jobs/{job_id}", method="DELETE")
        assert (second.code, json.loads(second.body)) == (200, document)
    assert await state(store, job_id) is State.CANCELLED


@pytest.mark.gen_test
async def test_a_job_that_has_ended_otherwise_cannot_be_cancelled(serve: Serve, worker: Worker) -> None:
    async with serve() as site:
        job_id = await site.posted()
        await worker.claim(job_id)
        await worker.succeed(job_id, "3")
        document = problem(await site.fetch(f"/jobs/{job_id}", method="DELETE"), 409, "job-ended")
        assert document["detail"] == "The job has ended: it is succeeded."


@pytest.mark.gen_test
async def test_who_waits_for_a_job_that_is_cancelled_learns_it_at_once(serve: Serve) -> None:
    async with serve() as site:
        site.app.watcher._interval = 3600.0
        job_id = await site.posted()
        waiting = site.fetch(f"/jobs/{job_id}", headers={"Prefer": "wait=20"})
        await until(lambda: len(site.app.watcher) == 1)
        await site.fetch(f"/jobs/{job_id}", method="DELETE")
        assert json.loads((await waiting).body)["state"] == "cancelled"


@pytest.mark.gen_test
async def test_a_list_leaves_out_parameters_that_are_long(serve: Serve) -> None:
    async with serve() as site:
        lengths = [10, MAX_LISTED + 1]
        for length in lengths:
            await site.posted({"name": "slow_count", "parameters": {"steps": 1, "note": "x" * length}})
        listed = json.loads((await site.fetch("/jobs")).body)["jobs"]
        assert [job["parameters"] and job["parameters"]["note"] for job in listed] == [None, "x" * 10]
        one = json.loads((await site.fetch(f"/jobs/{listed[0]['id']}")).body)
        assert len(one["parameters"]["note"]) == MAX_LISTED + 1


async def pages(site: Any, path: str) -> list[list[str]]:
    """The ids of all pages, each found by the link of the one before."""
    found = []
    while path:
        response = await site.fetch(path)
        assert response.code == 200
        document = json.loads(response.body)
        assert all("result" not in job for job in document["jobs"])
        found.append([job["id"] for job in document["jobs"]])
        link = response.headers.get("Link", "")
        assert (document["next"] is not None) == bool(link) and (not link or link.endswith('; rel="next"'))
        path = link[1:].partition(">")[0]
    return found


@pytest.mark.gen_test
async def test_jobs_are_listed_newest_first_page_by_page(serve: Serve) -> None:
    async with serve() as site:
        made = [await site.posted() for _ in range(5)]
        newest = sorted(made, reverse=True)
        assert await pages(site, "/jobs") == [newest]
        assert await pages(site, "/jobs?limit=2") == [newest[:2], newest[2:4], newest[4:]]
        assert await pages(site, "/jobs?limit=5") == [newest]


@pytest.mark.gen_test
async def test_jobs_are_listed_by_state_and_name(serve: Serve, worker: Worker) -> None:
    async with serve() as site:
        counts = [await site.posted() for _ in range(3)]
        mail = await site.posted({"name": "mail.send"})
        await worker.claim(counts[0])
        assert await pages(site, "/jobs?state=running") == [[counts[0]]]
        assert await pages(site, "/jobs?name=mail.send") == [[mail]]
        queued = sorted(counts[1:], reverse=True)
        assert await pages(site, "/jobs?limit=1&name=slow_count&state=queued") == [queued[:1], queued[1:]]
        assert await pages(site, "/jobs?name=" + "%E2%82%AC" * 500) == [[]]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=101", "limit=1000", "limit=-1", "limit=x", "limit=", "limit=1&limit=2", "limit=%D9%A3",
        "state=done", "state=", "cursor=", "cursor=x", "cursor=%00", "cursor=%ff", "other=1", "%25s=1", "name=%ff",
        "cursor=" + base64.urlsafe_b64encode(b"' OR 1=1 --" + b"x" * 25).decode(),
        "cursor=" + base64.urlsafe_b64encode("ü".encode() * 18).decode(),
    ],
)  # fmt: skip
async def test_a_query_that_is_none_is_400(query: str, serve: Serve, fake: FakeStore) -> None:
    async with serve() as site:
        problem(await site.fetch(f"/jobs?{query}"), 400)
    assert "list" not in fake.calls


@pytest.mark.gen_test
async def test_the_list_has_a_head(serve: Serve) -> None:
    async with serve() as site:
        await site.posted()
        response = await site.fetch("/jobs", method="HEAD")
        assert (response.code, response.body) == (200, b"") and int(response.headers["Content-Length"]) > 100


@pytest.mark.gen_test
async def test_what_a_client_would_wait_for_does_not_hold_up_a_server_that_stops(serve: Serve) -> None:
    async with serve() as site:
        job_id = await site.posted()
        posted = site.post(COUNT, Prefer="wait=20")
        got = site.fetch(f"/jobs/{job_id}", headers={"Prefer": "wait=20"})
        await until(lambda: len(site.app.watcher) == 2)
        site.app.stop_waiting()
        assert ((await posted).code, (await got).code) == (202, 200)
        assert (await site.post(COUNT, Prefer="wait=20")).code == 202
