"""The routes of schedules over real HTTP, over both stores."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from tornado.httpclient import HTTPResponse

from server.jobs.connections import Connections
from server.jobs.model import SchemaMissing, Store, StoreUnavailable
from server.schedules.database import DatabaseScheduleStore
from server.schedules.model import Schedule, ScheduleStore
from tests.server.conftest import Serve
from tests.server.fake_jobs import FakePublisher
from tests.server.fake_schedules import FakeScheduleStore
from tests.server.jobs_site import COUNT, WEBHOOKS, Site, problem, serving

pytestmark = pytest.mark.gen_test

HOURLY = {"job": COUNT, "cron": "0 * * * *", "timezone": "Europe/Berlin"}


@pytest.fixture
def fake_schedules() -> FakeScheduleStore:
    """The store in memory, which can be made to fail."""
    return FakeScheduleStore()


@pytest.fixture
def schedule_store(kept_in: str, io_loop: Any, request: pytest.FixtureRequest) -> Iterator[ScheduleStore]:
    """Where the routes keep schedules."""
    if kept_in == "memory":
        yield request.getfixturevalue("fake_schedules")
        return
    opened = Connections(request.getfixturevalue("database_url"))
    yield DatabaseScheduleStore(opened)
    io_loop.run_sync(opened.close)


@pytest.fixture
def serve(store: Store, publisher: FakePublisher, schedule_store: ScheduleStore) -> Serve:
    return partial(serving, store, publisher, schedule_store)


async def put(site: Site, name: str, body: Any, query: str = "", **headers: str) -> HTTPResponse:
    """PUT /schedules/{name}."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return await site.fetch(
        f"/schedules/{name}{query}", method="PUT", body=body if isinstance(body, str) else json.dumps(body),
        headers={"Content-Type": "application/json", **named},
    )  # fmt: skip


async def post(site: Site, path: str, **headers: str) -> HTTPResponse:
    """POST /schedules/{path}, without a body."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return await site.fetch(f"/schedules/{path}", method="POST", headers=named)


def read(response: HTTPResponse, status: int = 200) -> dict[str, Any]:
    """The document of an answer."""
    assert response.code == status, response.body
    document: dict[str, Any] = json.loads(response.body)
    return document


async def test_a_schedule_is_made_and_read(serve: Serve) -> None:
    async with serve() as site:
        made = await put(site, "close-month.2", HOURLY)
        document = read(made, 201)
        assert made.headers["Location"] == document["urls"]["self"] == "/schedules/close-month.2"
        assert document["job"] == {
            **COUNT, "queue": "queries.jobs", "webhook": None,
            "retry": {"max_retries": 2, "backoff": 1.0, "backoff_max": 600.0},
        }  # fmt: skip
        assert (document["name"], document["cron"], document["every"]) == ("close-month.2", "0 * * * *", None)
        assert (document["timezone"], document["enabled"]) == ("Europe/Berlin", True)
        assert (document["overlap"], document["catch_up"]) == ("allow", "latest")
        assert (document["last_tick"], document["last_job"]) == (None, None)
        found = await site.fetch("/schedules/close-month.2")
        assert read(found) == document
        assert found.headers["Etag"] == made.headers["Etag"]


async def test_a_document_can_be_put_as_it_is(serve: Serve) -> None:
    async with serve() as site:
        for body in (HOURLY, {"job": COUNT, "every": 60}):
            made = read(await put(site, "s", body), 201)
            defined = ("job", "cron", "every", "timezone", "enabled", "overlap", "catch_up")
            assert read(await put(site, "s", {member: made[member] for member in defined})) == made
            await site.fetch("/schedules/s", method="DELETE")


async def test_the_next_five_times_are_shown(serve: Serve) -> None:
    async with serve() as site:
        document = read(await put(site, "s", {"job": COUNT, "every": 90}), 201)
        created = datetime.fromisoformat(document["created"].rstrip("Z"))
        times = [datetime.fromisoformat(text.rstrip("Z")) for text in document["next"]]
        assert times == [created + n * timedelta(seconds=90) for n in (1, 2, 3, 4, 5)]
        hourly = read(await put(site, "t", HOURLY), 201)["next"]
        assert len(hourly) == 5 and all(text.endswith(":00:00.000000Z") for text in hourly)


async def test_all_of_the_job_can_be_given(serve: Serve) -> None:
    job = {**COUNT, "queue": "queries.night", "retry": {"max_retries": 5}, "webhook": "https://example.com/hook"}
    body = {"job": job, "every": 3600, "enabled": False, "overlap": "skip", "catch_up": "none"}
    async with serve(**WEBHOOKS) as site:
        wrong = {**body, "job": {**job, "webhook": "https://127.0.0.1/"}}
        assert problem(await put(site, "s", wrong), 400)["detail"].startswith("job.webhook: a ")
        document = read(await put(site, "s", body), 201)
    assert document["job"] == {**job, "retry": {"max_retries": 5, "backoff": 1.0, "backoff_max": 600.0}}
    assert (document["enabled"], document["overlap"], document["catch_up"]) == (False, "skip", "none")
    assert (document["every"], document["next"]) == (3600.0, [])


async def test_the_same_again_changes_nothing(serve: Serve) -> None:
    async with serve() as site:
        body = {"job": COUNT, "every": 60}
        first = await put(site, "s", body)
        again = await put(site, "s", body)
        assert read(again, 200) == read(first, 201)
        assert again.headers["Etag"] == first.headers["Etag"] and "Location" not in again.headers


async def test_an_edit_of_the_job_leaves_the_ticks_as_they_are_and_one_of_the_ticks_does_not(serve: Serve) -> None:
    async with serve() as site:
        before = read(await put(site, "s", {"job": COUNT, "every": 60}), 201)
        other = {"name": "slow_count", "parameters": {"steps": 7}}
        after = read(await put(site, "s", {"job": other, "every": 60}))
        assert after["job"]["parameters"] == {"steps": 7} and after["next"] == before["next"]
        faster = read(await put(site, "s", {"job": other, "every": 50}))
        assert faster["next"][0] < before["next"][0] and faster["created"] == before["created"]


async def test_true_is_another_parameter_than_one(serve: Serve) -> None:
    async with serve() as site:
        for note, status in (("[true]", 201), ("[1]", 200), ("[1.5]", 200)):
            job = {"name": "slow_count", "parameters": {"steps": 1, "note": json.loads(note)}}
            document = read(await put(site, "s", {"job": job, "every": 60}), status)
            assert json.dumps(document["job"]["parameters"]["note"]) == note


async def test_a_paused_schedule_has_no_next_time_until_it_goes_on(serve: Serve) -> None:
    async with serve() as site:
        made = await put(site, "s", {"job": COUNT, "every": 60})
        paused = await post(site, "s/pause")
        assert (read(paused)["enabled"], read(paused)["next"]) == (False, [])
        assert paused.headers["Etag"] != made.headers["Etag"]
        again = await post(site, "s/pause")
        assert read(again) == read(paused) and again.headers["Etag"] == paused.headers["Etag"]
        resumed = read(await post(site, "s/resume"))
        assert (resumed["enabled"], resumed["next"]) == (True, read(made, 201)["next"])


async def test_an_edit_that_another_one_was_faster_than_is_412(serve: Serve) -> None:
    async with serve() as site:
        tag = (await put(site, "s", HOURLY)).headers["Etag"]
        edited = await put(site, "s", {**HOURLY, "overlap": "skip"}, If_Match=tag)
        assert read(edited)["overlap"] == "skip"
        problem(await put(site, "s", HOURLY, If_Match=tag), 412)
        problem(await post(site, "s/pause", If_Match=tag), 412)
        problem(await site.fetch("/schedules/s", method="DELETE", headers={"If-Match": tag}), 412)
        problem(await post(site, "s/run", If_Match=tag), 412)
        problem(await post(site, "s/run", If_None_Match="*"), 412)
        problem(await post(site, "t/run", If_Match="*"), 412)
        problem(await post(site, "s/run", If_Match="nonsense"), 400)
        read(await post(site, "s/run", If_Match=edited.headers["Etag"]), 202)
        problem(await put(site, "s", HOURLY, If_None_Match="*"), 412)
        problem(await put(site, "t", HOURLY, If_Match="*"), 412)
        # What is wrong is so whatever is there.
        problem(await put(site, "t", {**HOURLY, "timezone": "U" * 65}, If_Match="*"), 422)
        problem(await put(site, "s", HOURLY, If_Match="nonsense"), 400)
        assert read(await site.fetch("/schedules/s"))["overlap"] == "skip"
        weak = edited.headers["Etag"]
        assert weak.startswith('W/"') and edited.headers["Cache-Control"] == "no-cache"
        among_others = f'"other", {weak.removeprefix("W/")}'
        assert read(await put(site, "s", HOURLY, If_Match=among_others))["overlap"] == "allow"
        read(await put(site, "t", HOURLY, If_None_Match="*"), 201)


async def test_the_tag_of_one_that_was_deleted_is_not_that_of_the_next(serve: Serve) -> None:
    async with serve() as site:
        tag = (await put(site, "s", HOURLY)).headers["Etag"]
        assert (await site.fetch("/schedules/s", method="DELETE")).code == 204
        problem(await site.fetch("/schedules/s", method="DELETE"), 404)
        read(await put(site, "s", HOURLY), 201)
        problem(await put(site, "s", HOURLY, If_Match=tag), 412)


async def test_what_would_be_made_can_be_asked_for(serve: Serve) -> None:
    async with serve() as site:
        answer = await put(site, "s", HOURLY, "?dry_run=1")
        document = read(answer, 200)
        assert "Location" not in answer.headers and "Etag" not in answer.headers
        assert document["job"]["queue"] == "queries.jobs" and len(document["next"]) == 5
        problem(await site.fetch("/schedules/s"), 404)
        made = await put(site, "s", HOURLY, "?dry_run=0")
        assert read(await put(site, "s", {**HOURLY, "overlap": "skip"}, "?dry_run=1"))["overlap"] == "skip"
        assert read(await site.fetch("/schedules/s")) == read(made, 201)
        for wrong in ("?dry_run=2", "?dry_run=", "?dryrun=1", "?dry-run=1&dry_run=1"):
            problem(await put(site, "t", HOURLY, wrong), 400)
        problem(await site.fetch("/schedules/t"), 404)


async def test_schedules_are_listed_by_name_in_pages(serve: Serve) -> None:
    async with serve() as site:
        for name in ("c", "a", "b"):
            await put(site, name, HOURLY)
        first = await site.fetch("/schedules?limit=2")
        page = read(first)
        assert [each["name"] for each in page["schedules"]] == ["a", "b"]
        assert [len(each["next"]) for each in page["schedules"]] == [1, 1]
        assert all("parameters" not in each["job"] for each in page["schedules"])
        assert first.headers["Link"] == f'</schedules?limit=2&cursor={page["next"]}>; rel="next"'
        last = read(await site.fetch(f"/schedules?cursor={page['next']}"))
        assert ([each["name"] for each in last["schedules"]], last["next"]) == (["c"], None)
        for query in ("limit=0", "cursor=x", "name=a"):
            problem(await site.fetch(f"/schedules?{query}"), 400)


async def test_a_job_out_of_turn(serve: Serve, publisher: FakePublisher) -> None:
    async with serve() as site:
        job = {**COUNT, "queue": "queries.night", "retry": {"max_retries": 7}}
        await put(site, "s", {"job": job, "every": 60, "enabled": False})
        made = await post(site, "s/run", Idempotency_Key='"k"')
        document = read(made, 202)
        assert made.headers["Location"] == document["urls"]["self"]
        assert (document["name"], document["parameters"]) == ("slow_count", {"steps": 3})
        assert (document["schedule"], document["tick"]) == ("s", None)
        assert publisher.sent == [(document["id"], None)]
        again = await post(site, "s/run", Idempotency_Key='"k"')
        assert read(again, 202)["id"] == document["id"] and again.headers["Idempotent-Replayed"] == "true"
        problem(await site.post(COUNT, Idempotency_Key='"k"'), 422, "idempotency-key-reused")
        await site.posted()
        listed = read(await site.fetch("/jobs?schedule=s"))["jobs"]
        assert [each["id"] for each in listed] == [document["id"]]
        problem(await post(site, "t/run"), 404)


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        ("{", 400, "The body is not JSON"),
        ("[]", 400, "An object with job"),
        ({}, 400, "job: an object"),
        ({"job": COUNT}, 400, "cron: either"),
        ({**HOURLY, "every": 60}, 400, "cron: either"),
        ({**HOURLY, "crom": 1}, 400, "crom: there is no such member"),
        ({**HOURLY, "cron": 5}, 400, "cron: a string"),
        ({"job": COUNT, "every": "60"}, 400, "every: seconds"),
        ({"job": COUNT, "every": True}, 400, "every: seconds"),
        ({**HOURLY, "enabled": 1}, 400, "enabled: true or false"),
        ({**HOURLY, "overlap": "queue"}, 400, "overlap: one of allow, skip"),
        ({**HOURLY, "catch_up": []}, 400, "catch_up: one of latest, none"),
        ({**HOURLY, "job": {**COUNT, "countdown": 5}}, 400, "job.countdown: there is no such"),
        ({**HOURLY, "job": {"parameters": {}}}, 400, "job.name: "),
        ({**HOURLY, "job": {"name": "slow_count"}}, 400, "steps: it is missing"),
        ({**HOURLY, "job": {**COUNT, "queue": ""}}, 400, "job.queue: the name"),
        ({**HOURLY, "job": {**COUNT, "queue": "\ud800"}}, 400, "job.queue: the name"),
        ({**HOURLY, "job": {**COUNT, "queue": "\u00bd"}}, 400, "job.queue: the name"),
        ({**HOURLY, "job": {**COUNT, "queue": "a\n"}}, 400, "job.queue: the name"),
        ({**HOURLY, "job": {**COUNT, "queue": "a" * 256}}, 400, "job.queue: the name"),
        ({**HOURLY, "job": {**COUNT, "retry": 3}}, 400, "job.retry: an object"),
        ({**HOURLY, "job": {**COUNT, "webhook": "http:hook"}}, 400, "job.webhook: none is configured"),
        ({**HOURLY, "job": {"name": "close_month"}}, 404, "There is no job of that name"),
        ({**HOURLY, "cron": "61 * * * *"}, 422, "cron: minute cannot"),
        ({**HOURLY, "cron": "0 0 */31 2 1#5"}, 422, "cron: there is no such day"),
        ({**HOURLY, "cron": "0 0 */31 2 1#5", "enabled": False}, 422, "cron: there is no such day"),
        ({**HOURLY, "timezone": "Nowhere"}, 422, "timezone: a name"),
        ({**HOURLY, "timezone": ""}, 422, "timezone: a name"),
        ({"job": COUNT, "every": 60, "timezone": "UTC"}, 400, "timezone: it is expected with cron"),
        ({"job": COUNT, "every": 0.5}, 422, "every: seconds from 1"),
        (json.dumps({"job": COUNT, "every": 5}).replace("5", "-1" + "0" * 400), 422, "every: seconds from 1"),
    ],
)
async def test_what_makes_no_schedule_is_refused_with_what_is_wrong(
    serve: Serve, body: Any, status: int, why: str
) -> None:
    async with serve() as site:
        assert problem(await put(site, "s", body), status)["detail"].startswith(why)
        problem(await site.fetch("/schedules/s"), 404)


@pytest.mark.parametrize("name", ["-a", "a" * 101, "a%20b", "Zo%C3%AB", "..", "a%2Fb"])
async def test_a_name_is_of_letters_and_digits(serve: Serve, name: str) -> None:
    async with serve() as site:
        assert (await put(site, name, HOURLY)).code in (400, 404)
        assert read(await site.fetch("/schedules"))["schedules"] == []


@pytest.mark.parametrize("queue", ["orders", "topics.log", "queries.dead"])
async def test_a_queue_of_messages_takes_no_jobs(serve: Serve, schedule_store: ScheduleStore, queue: str) -> None:
    why = "job.queue: that one takes no jobs."
    async with serve() as site:
        before = {**HOURLY, "job": {**COUNT, "queue": "orders"}}
        if queue == "orders":
            # It was made before that was a queue of messages.
            assert (await put(site, "s", before)).code == 201
    async with serve(queues={"orders": 5}) as site:
        assert problem(await put(site, "t", {**HOURLY, "job": {**COUNT, "queue": queue}}), 400)["detail"] == why
        for what in ("run", "resume") if queue == "orders" else ():
            assert problem(await post(site, f"s/{what}"), 400)["detail"] == why


async def test_a_name_with_blanks_behind_it_is_no_other_name_of_the_schedule(serve: Serve) -> None:
    async with serve() as site:
        await put(site, "s", HOURLY)
        assert problem(await put(site, "s%20", HOURLY), 400)["detail"].startswith("name: 1 to 100")
        problem(await site.fetch("/schedules/s%20"), 404)
        problem(await site.fetch("/schedules/s%20", method="DELETE"), 404)
        for what in ("pause", "resume", "run"):
            problem(await post(site, f"s%20/{what}"), 404)
        assert read(await site.fetch("/schedules/s"))["enabled"] is True


async def test_a_request_has_the_time_that_its_client_prefers(
    serve: Serve, schedule_store: ScheduleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    async def late(owner: str, name: str, timeout: float) -> Schedule | None:
        given.append(timeout)
        return None

    monkeypatch.setattr(schedule_store, "get", late)
    async with serve() as site:
        for headers in ({}, {"Prefer": "wait=0.5"}):
            answer = await site.fetch("/schedules/s", headers=headers)
            problem(answer, 404)
        assert answer.headers["Preference-Applied"] == "wait=0.5"
    assert given[1] <= 0.5 < given[0]


async def test_what_is_not_there_is_404(serve: Serve) -> None:
    async with serve() as site:
        problem(await site.fetch("/schedules/s"), 404)
        problem(await site.fetch("/schedules/Zo%C3%AB"), 404)
        problem(await post(site, "s/pause"), 404)
        problem(await post(site, "s/resume"), 404)


@pytest.mark.parametrize(
    ("error", "kind"), [(StoreUnavailable("away"), "jobs-unavailable"), (SchemaMissing("old"), "jobs-schema")]
)
async def test_a_database_that_is_away_is_503(
    serve: Serve, fake_schedules: FakeScheduleStore, fake: Any, error: StoreUnavailable, kind: str
) -> None:
    async with serve() as site:
        fake_schedules.error = error
        for response in (
            await put(site, "s", HOURLY),
            await site.fetch("/schedules"),
            await site.fetch("/schedules/s"),
            await post(site, "s/run"),
            await post(site, "s/pause"),
            await site.fetch("/schedules/s", method="DELETE"),
        ):
            problem(response, 503, kind)
            assert response.headers["Retry-After"]
