"""Answers of queries that several clients get, over real HTTP, with a fake bridge behind them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import format_trace_id
from prometheus_client import CollectorRegistry, generate_latest
from tornado.httpclient import HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from nowait import tracing
from nowait.bridge import Bridge
from nowait.errors import Overloaded
from nowait.messages.limits import MAX_RECEIVED_REPLY
from nowait.testing import FakeBridge
from server.app import WebApplication, make_app
from server.http.connections import Connections
from server.http.limits import SERVER_OPTIONS
from server.lifecycle import Server
from server.metrics.moment import MomentMetrics
from server.reloader import Reloader
from server.settings import Settings
from tests.bridge.conftest import until
from tests.metrics import Scrape
from tests.server.key_files import Keys
from tests.server.test_routes import Client, problem
from tests.test_tracing import use


def listed(name: str, **values: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"flag": {"type": "integer", "default": 0}}}
    return {"name": name, "description": "", "parameters": parameters, "queue": "queries", "repeatable": True, **values}


class Site:
    """A server of some queries, whose answers count how often they were run.

    Attributes:
        runs: name and parameters of each query that was run.
        go: those under way are answered.
        result: makes the rows, of how often queries have been run.
    """

    def __init__(self, **settings: Any) -> None:
        self.runs: list[tuple[str, dict[str, Any]]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.result: Callable[[int], Any] = lambda count: [{"run": count}]
        self.queries = [
            listed("plain"), listed("kept", cache=60.0, revision="1"), listed("brief", cache=0.1),
            listed("alone", coalesce=False), listed("once", repeatable=False, cache=60.0),
        ]  # fmt: skip
        tasks = {
            "task.list_queries": lambda: self.queries, "task.run_query": self._run, "task.stream_query": self._stream,
        }  # fmt: skip
        given = Settings(**settings)
        queues = ["queries", "queries.catalogue", "queries.streams"]
        self.bridge = FakeBridge(tasks, queues=queues, max_reply_bytes=given.max_answer_bytes)
        self.app: WebApplication = make_app(self.bridge, given)
        self.http = HTTPServer(self.app, **SERVER_OPTIONS)
        sock, port = bind_unused_port()
        self.http.add_socket(sock)
        self.client = Client(port)

    async def _run(self, name: str, parameters: dict[str, Any]) -> Any:
        self.runs.append((name, parameters))
        count = len(self.runs)
        await self.go.wait()
        return self.result(count)

    async def _stream(self, name: str, parameters: dict[str, Any], form: str) -> AsyncIterator[bytes]:
        self.runs.append((name, parameters))
        yield b"%d\n" % len(self.runs)

    async def get(self, path: str, **headers: str) -> HTTPResponse:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.fetch(f"/queries/{path}", headers=given)

    async def runs_seen(self, *paths: str, **headers: str) -> list[int]:
        """Which run of a query each path is answered by, asked for one after the other."""
        return [run(await self.get(path, **headers)) for path in paths]

    def many(self, path: str, times: int) -> "list[asyncio.Task[HTTPResponse]]":
        return [asyncio.create_task(self.get(path)) for _ in range(times)]


def run(response: HTTPResponse) -> int:
    assert response.code == 200, response.body
    (row,) = json.loads(response.body)["rows"]
    return int(row["run"])


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Site]:
    site = Site(**settings)
    yield site
    site.http.stop()
    await site.http.close_all_connections()
    await site.bridge.stop()


@pytest.mark.gen_test
async def test_equal_queries_at_once_are_run_once() -> None:
    async with serving() as site:
        site.go.clear()
        came = site.many("plain?flag=1", 5) + site.many("plain?flag=%2B1", 3) + site.many("plain?flag=2", 1)
        await until(lambda: len(site.app.in_flight) == 9 and len(site.runs) == 2)
        site.go.set()
        answers = await asyncio.gather(*came)
        # Which of the two came first, nobody knows.
        assert sorted([{run(answer) for answer in answers[:8]}, {run(answers[8])}], key=max) == [{1}, {2}]
        statuses = [answer.headers["Cache-Status"] for answer in answers[:8]]
        assert sorted(statuses) == ["nowait; fwd=miss"] + ["nowait; fwd=miss; collapsed"] * 7
        timings = [answer.headers["Server-Timing"] for answer in answers[:8]]
        assert all(timing.startswith("bridge;dur=") for timing in timings)
        # Nothing is kept of them, and nothing is there for others to keep.
        assert run(await site.get("plain?flag=1")) == 3
        assert not {"Age", "Etag"} & set(answers[0].headers) and answers[0].headers["Cache-Control"] == "no-store"


@pytest.mark.gen_test
async def test_what_has_its_default_is_equal_to_what_is_left_out() -> None:
    async with serving() as site:
        assert await site.runs_seen("kept", "kept?flag=0", "kept?flag=1") == [1, 1, 2]


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["alone", "once"])
async def test_a_query_that_is_not_to_be_shared_is_run_for_each(path: str) -> None:
    async with serving() as site:
        site.go.clear()
        if path == "once":
            fetch, json_type = site.client.fetch, {"Content-Type": "application/json"}
            came = [
                asyncio.ensure_future(fetch("/queries/once", method="POST", body=b"{}", headers=json_type))
                for _ in range(3)
            ]
        else:
            came = list(site.many("alone", 3))
        await until(lambda: len(site.runs) == 3)
        site.go.set()
        answers = await asyncio.gather(*came)
        assert {run(answer) for answer in answers} == {1, 2, 3}
        assert {answer.headers.get("Cache-Status") for answer in answers} == {
            None if path == "once" else "nowait; fwd=bypass"
        }


@pytest.mark.gen_test
async def test_an_answer_is_given_again_for_as_long_as_its_query_says() -> None:
    async with serving() as site:
        first, second = await site.get("kept"), await site.get("kept")
        assert (run(first), run(second)) == (1, 1) and first.body == second.body
        assert first.headers["Cache-Control"] == second.headers["Cache-Control"] == "max-age=60"
        assert first.headers["Etag"] == second.headers["Etag"]
        assert first.headers["Vary"] == second.headers["Vary"] == "Accept"
        assert "Age" not in first.headers and 0 <= int(second.headers["Age"]) < 60
        assert first.headers["Cache-Status"] == "nowait; fwd=miss"
        assert second.headers["Cache-Status"] == "nowait; hit"
        assert site.app.kept_answers.hits == 1

        assert run(await site.get("brief")) == 2
        while run(await site.get("brief")) == 2:
            await asyncio.sleep(0.01)
        assert len(site.runs) == 3


@pytest.mark.gen_test
async def test_a_client_that_has_the_answer_is_304_whether_or_not_it_is_run_again() -> None:
    async with serving() as site:
        site.result = lambda count: ["the same"]
        etag = (await site.get("kept")).headers["Etag"]
        for header in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            answer = await site.get("kept", If_None_Match=header)
            assert (answer.code, answer.body) == (304, b"")
            assert (answer.headers["Etag"], answer.headers["Cache-Control"]) == (etag, "max-age=60")
            assert "Content-Type" not in answer.headers
        assert len(site.runs) == 1
        assert (await site.get("kept", If_None_Match='"other"')).code == 200
        assert (await site.get("kept", If_None_Match=etag, Cache_Control="no-cache")).code == 304
        assert len(site.runs) == 2
        # Without a lifetime there is no tag.
        assert (await site.get("plain", If_None_Match="*")).code == 200


@pytest.mark.gen_test
async def test_a_client_may_have_a_query_run_for_itself() -> None:
    async with serving() as site:
        assert await site.runs_seen("kept", "kept") == [1, 1]
        answer = await site.get("kept", Cache_Control="no-cache")
        assert (run(answer), answer.headers["Cache-Status"]) == (2, "nowait; fwd=request")
        # Others get the newer one from then on.
        assert await site.runs_seen("kept") == [2]
        assert await site.runs_seen("kept", Cache_Control="no-store") == [3]
        assert await site.runs_seen("kept") == [2]
        assert await site.runs_seen("kept", Cache_Control="max-age=0") == [4]
        assert await site.runs_seen("kept", Cache_Control="max-age=3600") == [4]


@pytest.mark.gen_test
async def test_one_that_is_to_be_run_anew_waits_for_none_that_was_asked_for_before() -> None:
    async with serving() as site:
        site.go.clear()
        came = site.many("plain", 1)
        await until(lambda: len(site.runs) == 1)
        came.append(asyncio.create_task(site.get("plain", Cache_Control="no-cache")))
        await until(lambda: len(site.runs) == 2)
        came += site.many("plain", 1)
        await until(lambda: site.app.shared_calls.joined == 1)
        site.go.set()
        assert [run(answer) for answer in await asyncio.gather(*came)] == [1, 2, 2]


@pytest.mark.gen_test
@pytest.mark.parametrize("wanted", ["no-cache", "no-store"])
async def test_an_answer_that_was_asked_for_before_one_that_was_given_is_not_kept(wanted: str) -> None:
    async with serving() as site:
        site.go.clear()
        came = site.many("brief", 1)
        await until(lambda: len(site.runs) == 1)
        overtaken, site.go = site.go, asyncio.Event()
        site.go.set()
        assert await site.runs_seen("brief", Cache_Control=wanted) == [2]
        await asyncio.sleep(0.2)  # its lifetime is over
        overtaken.set()
        assert [run(answer) for answer in await asyncio.gather(*came)] == [1]
        assert await site.runs_seen("brief") == [3]


@pytest.mark.gen_test
async def test_errors_are_shared_and_not_kept() -> None:
    def too_many(count: int) -> Any:
        if count == 1:
            raise Overloaded("too many")
        return [{"run": count}]

    async with serving() as site:
        site.result = too_many
        site.go.clear()
        came = site.many("kept", 3)
        await until(lambda: len(site.app.in_flight) == 3 and site.app.shared_calls.joined == 2)
        site.go.set()
        for answer in await asyncio.gather(*came):
            assert problem(answer, 503)["type"] == "urn:problem-type:nowait:overloaded"
            assert not {"Age", "Etag"} & set(answer.headers) and answer.headers["Cache-Control"] == "no-store"
        assert await site.runs_seen("kept", "kept") == [2, 2]


@pytest.mark.gen_test
async def test_streams_and_bodies_are_neither_shared_nor_kept() -> None:
    async with serving() as site:
        for count in (1, 2):
            answer = await site.get("kept", Accept="text/csv")
            assert answer.body == b"%d\n" % count and answer.headers["Cache-Control"] == "no-store"
        post = {"method": "POST", "body": b"{}", "headers": {"Content-Type": "application/json"}}
        for count in (3, 4):
            answer = await site.client.fetch("/queries/kept", **post)
            assert run(answer) == count and answer.headers["Cache-Control"] == "no-store"
        assert await site.runs_seen("kept", "kept") == [5, 5]


@pytest.mark.gen_test
async def test_head_has_the_headers_of_the_answer_that_is_kept() -> None:
    async with serving() as site:
        answer = await site.get("kept")
        head = await site.client.fetch("/queries/kept", method="HEAD")
        assert (head.code, head.body, len(site.runs)) == (200, b"", 1)
        for name in ("Etag", "Cache-Control", "Content-Length", "Content-Type"):
            assert head.headers[name] == answer.headers[name]


@pytest.mark.gen_test
async def test_a_server_that_keeps_nothing_lets_clients_do_so() -> None:
    async with serving(cache_bytes=0) as site:
        assert await site.runs_seen("kept", "kept") == [1, 2]
        assert (await site.get("kept")).headers["Cache-Control"] == "max-age=60"


@pytest.mark.gen_test
async def test_workers_with_another_statement_are_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.catalogue._MAX_AGE", 0.0)
    monkeypatch.setattr("server.catalogue._MIN_AGE", 0.0)
    async with serving() as site:
        assert await site.runs_seen("kept", "kept") == [1, 1]
        site.queries = [listed("kept", cache=60.0, revision="2")]
        while await site.runs_seen("kept") == [1]:
            await asyncio.sleep(0.01)


@pytest.mark.gen_test
@pytest.mark.parametrize("size", [10, 100_000, 3_000_000])
async def test_a_large_answer_comes_whole_to_all_who_wait_and_to_those_who_come_later(size: int) -> None:
    rows = [{"text": "ü" * (size // 2)}]
    async with serving() as site:
        site.result = lambda count: rows
        answers = await asyncio.gather(*site.many("kept", 5), site.get("brief"), site.get("kept"))
        answers.append(await site.get("kept"))
        assert all(json.loads(answer.body)["rows"] == rows for answer in answers)
        assert len({answer.body for answer in answers}) == 2


@pytest.mark.gen_test
async def test_the_last_client_to_leave_takes_the_call_along() -> None:
    async with serving() as site:
        site.go.clear()
        writers = []
        for _ in range(2):
            _, writer = await asyncio.open_connection("127.0.0.1", site.client.port)
            writer.write(b"GET /queries/plain HTTP/1.1\r\nHost: h\r\n\r\n")
            writers.append(writer)
        await until(lambda: site.app.shared_calls.joined == 1)
        writers[0].close()
        await until(lambda: len(site.app.in_flight) == 1)
        assert site.bridge.in_flight == 1
        writers[1].close()
        await until(lambda: site.bridge.in_flight == 0)
        assert len(site.app.shared_calls) == 0


@pytest.mark.gen_test
async def test_an_answer_of_who_has_a_key_is_kept_by_nobody_between(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    one = keys.add("one", "queries")
    async with serving(keys=keys.path) as site:
        for given in ({}, {"If-None-Match": "*"}):
            answer = await site.get("kept", **one, **given)
            assert answer.headers["Cache-Control"] == "private, max-age=60"
            assert answer.headers["Vary"] == "Accept, Authorization"
        answer = await site.get("plain", **one)
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.gen_test
async def test_an_answer_that_is_given_again_is_held_like_any_other_until_it_is_written() -> None:
    async with serving() as site:
        assert run(await site.get("kept")) == 1
        shares = []
        for size in (MAX_RECEIVED_REPLY, 1000, 1):
            with contextlib.suppress(Overloaded):
                while True:
                    shares.append(site.bridge.hold(size))
        answer = await site.get("kept")
        assert problem(answer, 503)["type"] == "urn:problem-type:nowait:overloaded"
        shares.clear()
        assert await site.runs_seen("kept", "kept") == [1, 1]


@pytest.mark.gen_test
async def test_one_for_which_there_is_no_room_leaves_others_what_there_is() -> None:
    async with serving(max_answer_bytes=1_000_000) as site:
        site.result = lambda count: [{"run": count, "text": "x" * 600_000 if count == 1 else ""}]
        assert run(await site.get("kept")) == 1
        share = site.bridge.hold(500_000)
        assert (await site.get("kept")).code == 503
        assert await site.runs_seen("plain") == [2]
        share.release()
        assert await site.runs_seen("kept") == [1]


@pytest.mark.gen_test
async def test_keys_that_may_run_a_query_get_one_answer_and_others_none(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    allowed = [keys.add(f"one{number}", "queries:plain", owner=f"owner{number}") for number in range(5)]
    other = keys.add("other", "queries:kept")
    async with serving(keys=keys.path) as site:
        site.go.clear()
        came = [asyncio.create_task(site.get("plain", **key)) for key in allowed]
        await until(lambda: site.app.shared_calls.joined == 4)
        assert problem(await site.get("plain", **other), 403)["title"] == "Scope missing"
        site.go.set()
        assert [run(answer) for answer in await asyncio.gather(*came)] == [1] * 5


@pytest.mark.gen_test
async def test_who_has_a_key_for_a_query_is_given_its_methods_and_others_are_not(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    mine, other = keys.add("mine", "queries:once"), keys.add("other", "queries:plain")
    async with serving(keys=keys.path) as site:
        await site.get("once", **mine)  # the queries are known
        for method, headers, status, allowed in (
            ("PUT", mine, 405, "POST"), ("PUT", other, 403, None), ("TRACE", {}, 405, "GET, HEAD, POST"),
        ):  # fmt: skip
            answer = await site.client.fetch("/queries/once", method=method, headers=headers)
            assert (answer.code, answer.headers.get("Allow")) == (status, allowed)


@pytest.mark.gen_test
async def test_who_has_joined_a_call_names_the_trace_that_has_it() -> None:
    exporter = InMemorySpanExporter()
    use(exporter, ALWAYS_ON)
    try:
        async with serving() as site:
            site.go.clear()
            came = site.many("plain", 1)
            await until(lambda: len(site.runs) == 1)
            came += site.many("plain", 2)
            await until(lambda: site.app.shared_calls.joined == 2)
            site.go.set()
            await asyncio.gather(*came)
            await until(lambda: len(exporter.get_finished_spans()) == 3)
    finally:
        tracing.stop()
    joined = "nowait.joined_trace_id"
    leader, *others = sorted(exporter.get_finished_spans(), key=lambda span: joined in span.attributes)
    assert joined not in leader.attributes
    trace_id = format_trace_id(leader.context.trace_id)
    assert [span.attributes[joined] for span in others] == [trace_id] * 2


@pytest.mark.gen_test
async def test_what_several_get_is_among_the_metrics() -> None:
    registry = CollectorRegistry()
    metrics = MomentMetrics(registry)
    bridge = Bridge(Celery("server", broker="amqp://127.0.0.1:1//", set_as_current=False))
    async with serving() as site:
        site.go.clear()
        came = site.many("kept", 3)
        await until(lambda: site.app.shared_calls.joined == 2)
        site.go.set()
        await asyncio.gather(*came)
        await site.get("kept")
        server = Server(bridge, site.app, Connections(1), Reloader({}), None)
        for _ in range(2):
            metrics.set(server, 1.0)
        found = Scrape(generate_latest(registry).decode())
        assert (found["nowait_calls_joined_total"], found["nowait_kept_answers_hits_total"]) == (2, 1)
        assert found["nowait_kept_answer_bytes"] == site.app.kept_answers.bytes > 0
        assert found["nowait_refusals_held"] == 0
        with site.app.gate.holding(1.0):
            metrics.set(server, 1.0)
        assert Scrape(generate_latest(registry).decode())["nowait_refusals_held"] == 1
    await bridge.stop()


@pytest.mark.gen_test
async def test_a_query_gets_its_parameters_as_they_are_with_get_as_with_post() -> None:
    async with serving() as site:
        site.queries[0]["parameters"]["properties"]["text"] = {"type": "string", "default": ""}
        await site.get("plain?text=a%01%20b%0A%C3%BC")
        assert site.runs[-1][1]["text"] == "a\x01 b\nü"
        response = await site.get("plain?text=%FF")
        assert response.code == 400 and b"UTF-8" in response.body
