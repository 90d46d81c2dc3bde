"""Keys over HTTP: every route, with every key that is not good for it; limits, owners, and pages of other origins."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import Mock
from urllib.parse import quote

import pytest
from tornado.httpclient import HTTPResponse
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest, RequestStartLine
from tornado.routing import PathMatches
from tornado.simple_httpclient import HTTPStreamClosedError
from tornado.web import RequestHandler

from nowait.testing import FakeBridge
from server.app import make_app
from server.http.access import Access
from server.http.limits import BodyLimit, body_lost
from server.keys import gate, keyring
from server.keys.file import KeyFile
from server.keys.limits import Limits, Rate
from server.reloader import Reloader
from server.settings import Settings
from tests.bridge.conftest import until
from tests.server.fake_jobs import FakePublisher, FakeStore
from tests.server.fake_schedules import FakeScheduleStore
from tests.server.jobs_site import COUNT, Site, problem, serving
from tests.server.key_files import HOUR, Keys, bearer, new_key, now, resigned

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")
# What the parts of paths are.
PARTS = ["name", "1", "01992c2e-0000-7000-8000-000000000000", "style.css"]
OPEN_PATHS = {"/i_want_you_now", "/healthz", "/readyz", "/openapi.json", "/docs", "/docs/style.css"}
# With the demo, which does without keys.
OF_THE_DEMO = ("/page/", "/live/events", "/blocking/", "/threads/", "/aiomysql/", "/asyncmy/")


def routes(**settings: Any) -> list[tuple[str, type[RequestHandler]]]:
    """A path of each route, and its handler."""
    app = make_app(FakeBridge({}, queues=()), Settings(**settings))
    found = []
    for rule in app.wildcard_router.rules:
        assert isinstance(rule.matcher, PathMatches)
        pattern = rule.matcher.regex.pattern.rstrip("$")
        path = re.sub(r"\((?:[^()\[]|\[[^]]*\])*\)", lambda group: _part(group.group()), pattern).replace("\\", "")
        found.append((path, rule.target))
    return found


def _part(group: str) -> str:
    return next(part for part in PARTS if re.fullmatch(group, part))


def requests() -> list[tuple[str, str]]:
    """Each path with each method that its handler has."""
    return [
        (method, path)
        for path, handler in routes()
        for method in METHODS
        if getattr(handler, method.lower()) is not getattr(RequestHandler, method.lower())
    ]


def test_for_every_route_it_is_decided_what_it_needs() -> None:
    for path, handler in routes(demo=True):
        access = getattr(handler, "access")
        assert isinstance(access, Access), f"{path}: {handler.__name__} has no `access`"
        is_open = path in OPEN_PATHS or path == "/" or path.startswith(OF_THE_DEMO)
        assert (access.area is None) == is_open, path


@asynccontextmanager
async def site_of(keys: Keys, **settings: Any) -> AsyncIterator[Site]:
    stores = FakeStore(), FakePublisher(), FakeScheduleStore()
    async with serving(*stores, keys=keys.path, topics={"name"}, queues={"name": 5}, **settings) as site:
        yield site


async def fetch(site: Site, method: str, path: str, headers: dict[str, str]) -> HTTPResponse:
    body = "{}" if method in ("POST", "PUT", "PATCH") else None
    return await site.fetch(path, method=method, body=body, headers={"Content-Type": "application/json", **headers})


@pytest.mark.gen_test
@pytest.mark.parametrize(("method", "path"), requests())
async def test_a_route_needs_a_key_that_is_valid_and_for_it(
    method: str, path: str, keys: Keys, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    compared = []
    equal = keyring.compare_digest
    monkeypatch.setattr(keyring, "compare_digest", lambda *both: compared.append(both) or equal(*both))
    good = keys.add("good")
    good_token = good["Authorization"].removeprefix("Bearer ")
    area = "queues" if "topics" in path or "events" == path.strip("/") else "topics"
    refused = {
        "unknown": bearer(new_key()[0].text),
        "wrong": bearer(resigned(good_token, new_key()[0].text)),
        "expired": keys.add("expired", expires=now() - HOUR),
        "not valid yet": keys.add("early", not_before=now() + HOUR),
        "revoked": keys.add("revoked", revoked=now()),
        "no key": bearer(good_token[:-1]),
        "other scheme": {"Authorization": f"Basic {good_token}"},
    }
    scopeless = keys.add("scopeless", area)
    async with site_of(keys) as site:
        if path in OPEN_PATHS:
            assert (await fetch(site, method, path, {})).code == 200
            # Who shows one there is known by it.
            known = path == "/openapi.json"
            assert (await fetch(site, method, path, refused["wrong"])).code == (401 if known else 200)
            return
        answer = await fetch(site, method, path, {})
        problem(answer, 401, "key-missing")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="nowait"'
        bodies = set()
        for reason, header in refused.items():
            del compared[:]
            answer = await fetch(site, method, path, header)
            document = problem(answer, 401, "key-invalid")
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="nowait", error="invalid_token"'
            if reason == "other scheme":
                assert document["detail"] == "A key is expected, as Authorization: Bearer."
            else:
                bodies.add(document["detail"])
            assert len(compared) == (0 if reason in ("no key", "other scheme") else 1)
        assert len(bodies) == 1
        answer = await fetch(site, method, path, scopeless)
        problem(answer, 403, "scope-missing")
        assert 'error="insufficient_scope", scope="' in answer.headers["WWW-Authenticate"]
        assert not site.bridge.sent
    text = caplog.text
    for header in (good, scopeless, *refused.values()):
        secret = header["Authorization"].split("_")[-1]
        assert secret not in text and secret[:10] not in text
    for reason in ("unknown", "wrong", "expired", "not valid yet", "revoked"):
        key_id = refused[reason]["Authorization"].split("_")[1]
        assert f"key {key_id} is refused: {reason}" in text


@pytest.mark.gen_test
async def test_a_key_runs_and_sees_the_queries_of_its_scopes(keys: Keys) -> None:
    one = keys.add("one", "queries:name queries:mysql_query")
    async with site_of(keys) as site:
        listed = json.loads((await site.fetch("/queries", headers=one)).body)
        assert [query["name"] for query in listed["queries"]] == ["name"]
        problem(await site.fetch("/queries/other", headers=one), 403, "scope-missing")
        # Whether there is such a query, it does not learn.
        problem(await site.fetch("/queries/nothing", headers=one), 403, "scope-missing")
        problem(await site.fetch("/queries/name?x=1", headers=one), 400)
        problem(await site.fetch("/mysql_query/99999999999", headers=one), 400)


@pytest.mark.gen_test
@pytest.mark.parametrize("name", ["€", "\n", "a\r\nX: 1", '"', "ü", "a" * 101, "a b"])
@pytest.mark.parametrize("way", ["/events?topics={}", "/jobs?name={}", "/schedules/{}", "job", "schedule"])
async def test_a_name_that_no_scope_has_is_in_no_header(way: str, name: str, keys: Keys) -> None:
    one = keys.add("one", "topics:a jobs:a schedules:a")
    given = {"Content-Type": "application/json", **one}
    job = {"name": name, "parameters": {}}
    async with site_of(keys) as site:
        if way == "job":
            answer = await site.fetch("/jobs", method="POST", body=json.dumps(job), headers=given)
        elif way == "schedule":
            body = json.dumps({"job": job, "every": 3600})
            answer = await site.fetch("/schedules/a", method="PUT", body=body, headers=given)
        else:
            answer = await site.fetch(way.format(quote(name)), headers=one)
        if answer.code == 400:
            return  # it is no name
        problem(answer, 403, "scope-missing")
        area = {"/events?topics={}": "topics.read", "/jobs?name={}": "jobs.read", "/schedules/{}": "schedules.read"}
        assert f'scope="{area.get(way, "jobs.write")}"' in answer.headers["WWW-Authenticate"]


@pytest.mark.gen_test
async def test_each_owner_has_jobs_of_its_own_and_an_administrator_all(keys: Keys) -> None:
    one, two, admin = keys.add("one", "jobs"), keys.add("two", "jobs"), keys.add("boss", "admin")
    reader = keys.add("reader", "jobs.read:slow_*", owner="one")
    async with site_of(keys) as site:
        job_id = await site.posted(COUNT, **one)
        path = f"/jobs/{job_id}"
        for headers in (one, admin, reader):
            assert json.loads((await site.fetch(path, headers=headers)).body)["owner"] == "one"
        problem(await site.fetch(path, headers=two), 404)
        for method, further in (("DELETE", ""), ("POST", "/retry"), ("POST", "/webhook")):
            answer = await site.fetch(path + further, method=method, body="" if further else None, headers=two)
            problem(answer, 404)
            answer = await site.fetch(path + further, method=method, body="" if further else None, headers=reader)
            problem(answer, 403, "scope-missing")

        async def listed(query: str, headers: dict[str, str]) -> list[str]:
            answer = await site.fetch(f"/jobs{query}", headers=headers)
            assert answer.code == 200, answer.body
            return [job["id"] for job in json.loads(answer.body)["jobs"]]

        assert await listed("", one) == await listed("", admin) == await listed("?owner=one", admin) == [job_id]
        assert await listed("", two) == await listed("?owner=two", admin) == []
        problem(await site.fetch("/jobs?owner=one", headers=two), 400)
        # Whose scopes are for some names lists by one of them.
        problem(await site.fetch("/jobs", headers=reader), 403, "scope-missing")
        problem(await site.fetch("/jobs?name=mail.send", headers=reader), 403, "scope-missing")
        assert await listed("?name=slow_count", reader) == [job_id]
        assert (await site.fetch(path, method="DELETE", headers=admin)).code == 200


@pytest.mark.gen_test
async def test_a_scope_for_some_jobs_is_for_no_others_by_way_of_a_schedule_or_an_id(keys: Keys) -> None:
    all_jobs, mail = keys.add("one", "jobs"), keys.add("mail", "jobs:mail.* schedules", owner="one")
    async with site_of(keys) as site:
        job_id = await site.posted(COUNT, **all_jobs)
        problem(await site.fetch(f"/jobs/{job_id}", headers=mail), 403, "scope-missing")
        problem(await site.fetch(f"/jobs/{job_id}/events", headers=mail), 403, "scope-missing")
        problem(await site.fetch(f"/jobs/{job_id}", method="DELETE", headers=mail), 403, "scope-missing")
        assert json.loads((await site.fetch(f"/jobs/{job_id}", headers=all_jobs)).body)["state"] == "queued"
        problem(await site.post(COUNT, **mail), 403, "scope-missing")
        await site.posted({"name": "mail.send"}, **mail)
        for name, status in (("slow_count", 403), ("mail.send", 201)):
            job = {"name": name, "parameters": {"steps": 1} if name == "slow_count" else {}}
            body = json.dumps({"job": job, "every": 3600})
            headers = {"Content-Type": "application/json", **mail}
            answer = await site.fetch("/schedules/hourly", method="PUT", body=body, headers=headers)
            assert answer.code == status, answer.body
        body = json.dumps({"job": COUNT, "every": 3600})
        headers = {"Content-Type": "application/json", **keys.add("all", "schedules jobs", owner="one")}
        await site.app.keys.reload()
        assert (await site.fetch("/schedules/counts", method="PUT", body=body, headers=headers)).code == 201
        for name, what, status in (
            ("hourly", "pause", 200), ("hourly", "resume", 200), ("hourly", "run", 202),
            ("counts", "pause", 200), ("counts", "resume", 403), ("counts", "run", 403), ("none", "resume", 404),
        ):  # fmt: skip
            answer = await site.fetch(f"/schedules/{name}/{what}", method="POST", body="", headers=mail)
            assert answer.code == status, (name, what, answer.body)


class Kept(HTTPMessageDelegate):
    """Counts the bytes of a body that come through."""

    size = 0

    def headers_received(self, *_: Any) -> None:
        pass

    def data_received(self, chunk: bytes) -> None:
        self.size += len(chunk)

    def finish(self) -> None:
        pass


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_of_the_body_of_who_has_no_key_next_to_nothing_is_kept(known: bool, declared: bool) -> None:
    start = RequestStartLine("POST", "/jobs", "HTTP/1.1")
    headers = HTTPHeaders({"Host": "h", **({"Content-Length": "100000"} if declared else {})})
    kept, asked, request = Kept(), [], HTTPServerRequest(connection=Mock(), start_line=start, headers=headers)
    limit = BodyLimit(request, kept, Kept, lambda: asked.append(1) or known)  # type: ignore[func-returns-value]
    limit.headers_received(start, headers)
    for _ in range(100):
        limit.data_received(bytes(1000))
    limit.finish()
    assert kept.size == (100_000 if known else 0 if declared else 16_000)
    assert (asked, body_lost(request)) == ([1], not known)


@pytest.mark.gen_test
async def test_a_key_that_becomes_valid_while_the_body_comes_is_refused_as_the_body_is_lost(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.add("other")
    asked = []
    knows = gate.Gate.knows
    monkeypatch.setattr(gate.Gate, "knows", lambda *args: asked.append(1) or knows(*args))
    token, key = new_key("late", "queries")
    headers = f"Host: h\r\nAuthorization: Bearer {token.text}\r\nContent-Type: application/json\r\n"
    head = f"POST /queries/name HTTP/1.1\r\n{headers}Content-Length: 40002\r\nConnection: close\r\n\r\n".encode()
    async with site_of(keys) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(head + b"{" + b" " * 30_000)
        await until(lambda: bool(asked))
        with KeyFile(keys.path).editing() as all_keys:
            all_keys.append(key)
        assert site.app.keys is not None
        await site.app.keys.reload()
        writer.write(b" " * 10_000 + b"}")
        assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
        writer.close()


@pytest.mark.gen_test
async def test_no_form_is_looked_into(keys: Keys) -> None:
    useless = {"Content-Type": "multipart/form-data; boundary=b"}
    one = {**useless, **keys.add("one")}
    async with site_of(keys) as site:
        for path, headers, status in (
            ("/jobs", useless, 401), ("/jobs", one, 415), ("/i_want_you_now", useless, 405), ("/none", useless, 404),
        ):  # fmt: skip
            answer = await site.fetch(path, method="POST", body="no form", headers=headers)
            assert answer.code == status, answer.body


@pytest.mark.gen_test
async def test_what_is_more_than_a_key_may_is_429_with_the_fields_of_the_draft(keys: Keys) -> None:
    one = keys.add("one", "queries", limits=Limits(rate=Rate(2, 3600)))
    two = keys.add("two", "queries")
    async with site_of(keys) as site:
        for left in (1, 0):
            answer = await site.fetch("/queries", headers=one)
            assert answer.code == 200
            assert answer.headers["RateLimit-Policy"] == '"default";q=2;w=3600'
            assert answer.headers["RateLimit"] == f'"default";r={left};t=1800'
        answer = await site.fetch("/queries", headers=one)
        assert answer.code == 429
        document = json.loads(answer.body)
        assert document["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
        assert document["violated-policies"] == ["default"]
        assert document["detail"] == "The key has used up what it may: 2 requests in 3600 seconds."
        assert int(answer.headers["Retry-After"]) >= int(answer.headers["RateLimit"].split("t=")[1])
        # Another one has a quota of its own.
        assert (await site.fetch("/queries", headers=two)).code == 200


@pytest.mark.gen_test
async def test_keys_that_are_added_and_revoked_are_read_while_the_server_runs(
    keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    async with site_of(keys) as site:
        assert site.app.keys is not None
        reloader = Reloader({"keys": site.app.keys})
        looking = asyncio.ensure_future(reloader.run())
        one = keys.add("one")

        async def status() -> int:
            reloader.poke()
            await asyncio.sleep(0.01)
            return (await site.fetch("/queries", headers=one)).code

        while await status() != 200:
            pass
        # A file that cannot be read changes nothing.
        good = keys.path.read_text()
        for useless in ("{", ""):
            keys.path.write_text(useless)
            caplog.clear()
            await until(lambda: "the keys are not read again" in caplog.text)
            assert await status() == 200
        keys.path.write_text(good.replace('"created"', '"revoked": "2026-11-26T00:00:00Z", "created"'))
        while await status() != 401:
            pass
        looking.cancel()


@pytest.mark.gen_test
async def test_streams_of_events_count_as_subscribers_and_not_as_in_flight(keys: Keys) -> None:
    one = keys.add("one", "jobs", limits=Limits(in_flight=1, subscribers=1))
    async with site_of(keys) as site:
        job_id = await site.posted(COUNT, **one)
        events = await site.events(job_id, **one)
        assert events.status == 200
        assert (await site.fetch(f"/jobs/{job_id}", headers=one)).code == 200
        answer = await site.fetch(f"/jobs/{job_id}/events", headers=one)
        assert answer.code == 429 and json.loads(answer.body)["violated-policies"] == ["subscribers"]
        events.close()
        # It is known to have left at the latest when the next one wants its place.
        for _ in range(100):
            again = await site.events(job_id, **one)
            again.close()
            if again.status == 200:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("the place is not free again")


@pytest.mark.gen_test
async def test_requests_that_end_give_their_room_back_however_they_end(keys: Keys) -> None:
    one = keys.add("one", "queries jobs", limits=Limits(in_flight=2))
    async with site_of(keys) as site:
        job_id = await site.posted(COUNT, **one)
        held = [site.fetch(f"/jobs/{job_id}", headers={**one, "Prefer": "wait=20"}) for _ in range(2)]
        await until(lambda: len(site.app.watcher) == 2)
        answer = await site.fetch("/queries", headers=one)
        assert answer.code == 429 and json.loads(answer.body)["violated-policies"] == ["in-flight"]
        assert answer.headers["RateLimit"] == '"in-flight";r=0'
        site.app.stop_waiting()
        assert [answer.code for answer in await asyncio.gather(*held)] == [200, 200]
        assert (await site.fetch("/queries", headers=one)).headers["RateLimit"] == '"in-flight";r=1'


def keys_of_nobody() -> dict[str, str]:
    return bearer(new_key()[0].text)


@pytest.mark.gen_test
async def test_who_guesses_waits_and_who_has_a_key_does_not(keys: Keys) -> None:
    one = keys.add("one", "queries")
    async with site_of(keys) as site:
        guesses = [site.fetch("/queries", headers=keys_of_nobody()) for _ in range(40)]
        await until(lambda: sum(guess.done() for guess in guesses) >= 10)
        assert (await site.fetch("/queries", headers=one)).code == 200
        assert not all(guess.done() for guess in guesses)
        assert {(await guess).code for guess in guesses} == {401}


@pytest.mark.gen_test
async def test_of_more_that_wait_than_may_the_connections_end(
    keys: Keys, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="server.http.access_log")
    monkeypatch.setattr(gate, "_MOST_HELD", 2)
    async with site_of(keys) as site:
        answers = await asyncio.gather(*(site.fetch("/queries") for _ in range(40)), return_exceptions=True)
        ended = [answer for answer in answers if isinstance(answer, HTTPStreamClosedError)]
        assert ended and {answer.code for answer in answers if isinstance(answer, HTTPResponse)} == {401}
        await until(lambda: len(site.app.in_flight) == 0)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    noted = [record.fields["status"] for record in caplog.records if hasattr(record, "fields")]
    assert noted == [401] * 40


ORIGIN = "https://app.example"


@pytest.mark.gen_test
async def test_pages_of_the_origins_that_are_listed_may_ask(keys: Keys) -> None:
    one = keys.add("one", "queries")
    cross = {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}
    async with site_of(keys, cors_origins={ORIGIN}) as site:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        preflight = await site.fetch("/queries/name", method="OPTIONS", headers={**cross, **asked})
        assert preflight.code == 204
        assert preflight.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
        answer = await site.fetch("/queries", headers={**cross, **one})
        assert answer.code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "RateLimit" in answer.headers["Access-Control-Expose-Headers"]
        assert answer.headers["Vary"] == "Origin"
        # An error, too, can be read.
        refused = await site.fetch("/queries", headers=cross)
        assert (refused.code, refused.headers["Access-Control-Allow-Origin"]) == (401, ORIGIN)
        # Those of others cannot.
        other = {"Origin": "https://other.example", "Sec-Fetch-Site": "cross-site"}
        for headers in ({**other, **one}, {**other, **asked}):
            method = "OPTIONS" if "Access-Control-Request-Method" in headers else "GET"
            answer = await site.fetch("/queries", method=method, headers=headers)
            assert "Access-Control-Allow-Origin" not in answer.headers and answer.headers["Vary"] == "Origin"
        assert answer.code in (401, 405)
        answer = await site.fetch("/topics/name", method="POST", body="1", headers={**other, **keys_of_nobody()})
        problem(answer, 403)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://h"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://other.example"}, True),
        ({"Sec-Fetch-Site": "same-site", "Origin": "https://other.example"}, True),
        ({"Origin": "https://other.example"}, True),
        ({"Origin": "null"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN}, False),
    ],
)
async def test_a_page_of_another_origin_changes_nothing(headers: dict[str, str], refused: bool) -> None:
    async with serving(FakeStore(), FakePublisher(), cors_origins={ORIGIN}) as site:
        job_id = await site.posted()
        answer = await site.fetch(f"/jobs/{job_id}/retry", method="POST", body="", headers=headers)
        assert answer.code == (403 if refused else 202)


@pytest.mark.gen_test
async def test_a_browser_makes_nothing_of_any_answer_but_what_it_is(keys: Keys) -> None:
    one = keys.add("one", "queries jobs topics")
    async with site_of(keys) as site:
        job_id = await site.posted(COUNT, **one)
        for method, path, status in (
            ("GET", "/i_want_you_now", 200), ("GET", "/nothing", 404), ("GET", "/queries", 200),
            ("DELETE", "/jobs", 405), ("GET", f"/jobs/{job_id}", 200), ("GET", "/schedules", 403),
            ("POST", "/topics/name", 202),
        ):  # fmt: skip
            answer = await fetch(site, method, path, one)
            given = answer.headers
            assert answer.code == status, path
            assert given["X-Content-Type-Options"] == "nosniff"
            assert given["Referrer-Policy"] == "no-referrer"
            assert given["Cross-Origin-Resource-Policy"] == "same-origin"
            assert given["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert given["Cache-Control"] == "no-store"
            assert not {"Server", "Strict-Transport-Security"} & set(given)
