"""The handlers over real HTTP, with a fake bridge behind them."""

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from nowait.bridge.call import Call
from nowait.errors import OutcomeUnknown, ResultTooLarge
from nowait.testing import FakeBridge
from server.app import WebApplication, make_app
from server.http.limits import SERVER_OPTIONS
from server.settings import Settings
from tests.bridge.conftest import until

QUEUES = ["queries", "queries.fast", "queries.catalogue"]
ROWS = [{"id": 1, "name": 'Zoë 🐇 "q"', "balance": "1.5000", "odd": "\ud800"}]


async def query_users(flag: int, delay: float) -> list[dict[str, Any]]:
    if flag == 500:
        raise LookupError("SELECT secret FROM users")
    await asyncio.sleep(delay)
    return ROWS if flag == 1 else []


def list_queries() -> list[dict[str, Any]]:
    flag = {"type": "integer", "minimum": 0}
    parameters = {"type": "object", "properties": {"flag": flag}}
    query = {"parameters": parameters, "queue": "queries.fast"}
    return [
        {"name": name, "description": "Some users.", "repeatable": name != "once", **query}
        for name in ("users", "gone", "changed", "failing", "broken", "once")
    ]


class UnknownQuery(Exception):
    pass


class BadParameters(Exception):
    pass


class QueryBroken(Exception):
    pass


class ConnectionLost(Exception):
    pass


def run_query(name: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    errors = {"gone": UnknownQuery, "changed": BadParameters, "failing": LookupError, "broken": QueryBroken}
    if name in errors:
        raise errors[name]("SELECT secret FROM users")
    return ROWS


@pytest.fixture
def bridge() -> FakeBridge:
    tasks = {"task.query_users": query_users, "task.list_queries": list_queries, "task.run_query": run_query}
    return FakeBridge(tasks, queues=QUEUES, max_in_flight=3)


@pytest.fixture
def app(bridge: FakeBridge) -> WebApplication:
    return make_app(bridge, Settings(demo=True, timeout=20))


class Client:
    """Requests to one server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._client = AsyncHTTPClient(force_instance=True)

    async def fetch(self, path: str, **kwargs: Any) -> HTTPResponse:
        url = f"http://127.0.0.1:{self.port}{path}"
        return await self._client.fetch(HTTPRequest(url, allow_nonstandard_methods=True, **kwargs), raise_error=False)

    async def raw(self, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        answer = await reader.read()
        writer.close()
        return answer


Serve = Callable[..., Client]


@pytest.fixture
def serve(io_loop: Any, app: WebApplication) -> Any:
    """Serves an application, the fixture's by default, on a free port."""
    servers = []

    def serve(application: WebApplication = app) -> Client:
        server = HTTPServer(application, **SERVER_OPTIONS)
        sock, port = bind_unused_port()
        server.add_socket(sock)
        servers.append(server)
        return Client(port)

    yield serve
    for server in servers:
        server.stop()
        io_loop.run_sync(server.close_all_connections)


def problem(response: HTTPResponse, status: int) -> dict[str, Any]:
    assert response.code == status, response.body
    assert response.headers["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = json.loads(response.body)
    assert document["status"] == status
    assert document["request_id"] == response.headers["X-Request-Id"]
    return document


@pytest.mark.gen_test
async def test_now_is_answered_at_once(serve: Serve) -> None:
    response = await serve().fetch("/i_want_you_now")
    assert (response.code, response.body) == (200, b"i want you, right now!")
    assert response.headers["Content-Type"].startswith("text/plain")


@pytest.mark.gen_test
async def test_rows_come_back_as_the_worker_sent_them(serve: Serve, bridge: FakeBridge) -> None:
    response = await serve().fetch("/mysql_query/1?delay=0.25")
    assert response.code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert json.loads(response.body) == {"flag": 1, "rows": ROWS}
    assert "Zoë 🐇".encode() in response.body
    assert response.headers["Server-Timing"].startswith("bridge;dur=")
    assert bridge.sent == [("task.query_users", [1, 0.25], {})]


class Named(FakeBridge):
    """Its workers give themselves a name."""

    name: str | None = None

    def send_task(self, *args: Any, **kwargs: Any) -> Call:
        call = super().send_task(*args, **kwargs)
        call.worker = self.name
        return call


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("demo", "name", "shown"),
    [
        (True, "celery@host-1.example", "celery@host-1.example"),
        (False, "celery@host-1.example", None),
        (True, None, None),
        (True, "", None),
        (True, "celery@host\r\nSet-Cookie: a=b", None),
        (True, "celery@host\n", None),
        (True, "zoë@host", None),
        (True, "a" * 256, None),
    ],
)
async def test_a_demo_names_the_worker_if_that_can_be_a_name(
    demo: bool, name: str | None, shown: str | None, serve: Serve
) -> None:
    bridge = Named({"task.query_users": query_users}, queues=QUEUES)
    bridge.name = name
    response = await serve(make_app(bridge, Settings(demo=demo))).fetch("/mysql_query/1")
    assert response.code == 200
    assert response.headers.get("X-Worker") == shown


@pytest.mark.gen_test
async def test_no_rows_are_a_success(serve: Serve) -> None:
    response = await serve().fetch("/mysql_query/7")
    assert (response.code, response.body) == (200, b'{"flag":7,"rows":[]}')


@pytest.mark.gen_test
@pytest.mark.parametrize("flag", ["0", "1", "2147483647", "0000000000000001"])
async def test_every_flag_in_range_is_queried(serve: Serve, bridge: FakeBridge, flag: str) -> None:
    assert (await serve().fetch(f"/mysql_query/{flag}")).code == 200
    assert bridge.sent[0][1] == [int(flag), 0]


@pytest.mark.gen_test
async def test_the_named_queries_are_listed_without_their_sql_and_queues(serve: Serve) -> None:
    response = await serve().fetch("/queries")
    assert response.code == 200
    first, *_ = json.loads(response.body)["queries"]
    assert first.keys() == {"name", "description", "parameters", "repeatable", "broken", "cache", "row"}
    assert first["parameters"]["properties"] == {"flag": {"type": "integer", "minimum": 0}}


@pytest.mark.gen_test
async def test_a_named_query_is_run_from_its_queue_with_typed_parameters(serve: Serve, bridge: FakeBridge) -> None:
    response = await serve().fetch("/queries/users?flag=7")
    assert (response.code, json.loads(response.body)) == (200, {"query": "users", "rows": ROWS})
    assert bridge.sent[1:] == [("task.run_query", ["users", {"flag": 7}], {})]


@pytest.mark.gen_test
@pytest.mark.parametrize("query", ["", "?flag=x", "?flag=-1", "?flag=1&flag=2", "?flag=1&more=2", "?flag="])
async def test_bad_parameters_are_refused_before_anything_is_sent(serve: Serve, bridge: FakeBridge, query: str) -> None:
    problem(await serve().fetch(f"/queries/users{query}"), 400)
    assert [name for name, _, _ in bridge.sent] == ["task.list_queries"]


NO_ANSWERS = [("nobody", 404), ("gone", 404), ("changed", 400), ("failing", 500), ("broken", 503)]


@pytest.mark.gen_test
@pytest.mark.parametrize(("name", "status"), NO_ANSWERS)
async def test_a_query_that_is_not_there_or_fails_is_a_problem(serve: Serve, name: str, status: int) -> None:
    document = problem(await serve().fetch(f"/queries/{name}?flag=1"), status)
    assert "SELECT" not in str(document)


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/mysql_query/1", "/queries/users?flag=1"])
@pytest.mark.parametrize(
    ("error", "kind", "seconds"), [(QueryBroken, "query-broken", "60"), (ConnectionLost, "database-lost", "1")]
)
async def test_a_query_that_is_broken_or_has_lost_its_database_is_503_on_each_route(
    serve: Serve, path: str, error: type[Exception], kind: str, seconds: str
) -> None:
    def refused(*_: Any) -> None:
        raise error("SELECT secret FROM users")

    tasks = {"task.list_queries": list_queries, "task.run_query": refused, "task.query_users": refused}
    response = await serve(make_app(FakeBridge(tasks, queues=QUEUES), Settings())).fetch(path)
    assert problem(response, 503)["type"] == f"urn:problem-type:nowait:{kind}"
    assert response.headers["Retry-After"] == seconds and b"secret" not in response.body


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/mysql_query/1", "/queries/users?flag=1"])
@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (ResultTooLarge(10_000, "rows"), "The answer has more than 10000 rows. "),
        (ResultTooLarge(16_777_216, "bytes"), "The answer has more than 16777216 bytes. "),
        (ResultTooLarge(), "The answer is larger than it may be. "),
    ],
)
async def test_an_answer_that_is_too_large_is_422_with_its_limit(
    serve: Serve, path: str, error: ResultTooLarge, detail: str
) -> None:
    def too_large(*_: Any) -> None:
        raise error

    tasks = {"task.list_queries": list_queries, "task.run_query": too_large, "task.query_users": too_large}
    document = problem(await serve(make_app(FakeBridge(tasks, queues=QUEUES), Settings())).fetch(path), 422)
    assert document["type"] == "urn:problem-type:nowait:answer-too-large"
    assert document["detail"].startswith(detail) and "Accept: application/x-ndjson" in document["detail"]


@pytest.mark.gen_test
async def test_broken_queries_are_listed_as_such(serve: Serve) -> None:
    def listed() -> list[dict[str, Any]]:
        return [{**document, "broken": document["name"] == "broken"} for document in list_queries()]

    client = serve(make_app(FakeBridge({"task.list_queries": listed}, queues=QUEUES), Settings()))
    queries = json.loads((await client.fetch("/queries")).body)["queries"]
    assert [query["name"] for query in queries if query["broken"]] == ["broken"]


JSON = {"Content-Type": "application/json"}


@pytest.mark.gen_test
async def test_a_query_that_must_not_run_twice_is_posted_and_never_sent_again(
    serve: Serve, bridge: FakeBridge
) -> None:
    client = serve()
    for method in ("GET", "HEAD"):
        response = await client.fetch("/queries/once?flag=1", method=method)
        assert (response.code, response.headers["Allow"]) == (405, "POST")
    assert [name for name, _, _ in bridge.sent] == ["task.list_queries"]
    response = await client.fetch("/queries/once", method="POST", body=b'{"flag": 7}', headers=JSON)
    assert (response.code, json.loads(response.body)) == (200, {"query": "once", "rows": ROWS})
    assert bridge.sent[1:] == [("task.run_query", ["once", {"flag": 7}], {})]
    assert bridge.idempotent == [True, False]


@pytest.mark.gen_test
async def test_a_query_that_may_run_twice_can_be_posted_too(serve: Serve, bridge: FakeBridge) -> None:
    response = await serve().fetch("/queries/users", method="POST", body=b'{"flag": 7}', headers=JSON)
    assert response.code == 200
    assert bridge.idempotent == [True, True]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b"null", b'{"flag": "7"}', b'{"flag": -1}', b"{}", b'{"flag": NaN}', b"[" * 100_000]
)
async def test_a_body_that_holds_no_parameters_is_a_bad_request(serve: Serve, bridge: FakeBridge, body: bytes) -> None:
    problem(await serve().fetch("/queries/once", method="POST", body=body, headers=JSON), 400)
    assert [name for name, _, _ in bridge.sent] == ["task.list_queries"]


@pytest.mark.gen_test
async def test_a_body_of_another_type_is_refused(serve: Serve) -> None:
    problem(await serve().fetch("/queries/once", method="POST", body=b"flag=1"), 415)


@pytest.mark.gen_test
async def test_an_unknown_outcome_is_502_and_nobody_is_asked_to_try_again(serve: Serve) -> None:
    def lost(name: str, parameters: dict[str, Any]) -> None:
        raise OutcomeUnknown("a worker was lost")

    bridge = FakeBridge({"task.list_queries": list_queries, "task.run_query": lost}, queues=QUEUES)
    client = serve(make_app(bridge, Settings()))
    response = await client.fetch("/queries/once", method="POST", body=b'{"flag": 7}', headers=JSON)
    assert problem(response, 502)["type"] == "urn:problem-type:nowait:outcome-unknown"
    assert "Retry-After" not in response.headers


@pytest.mark.gen_test
@pytest.mark.parametrize("variant", ["", "/blocking", "/threads", "/aiomysql", "/asyncmy"])
@pytest.mark.parametrize("flag", ["2147483648", "99999999999", "9" * 5000])
async def test_a_flag_that_is_too_large_is_a_bad_request(serve: Serve, variant: str, flag: str) -> None:
    assert "flag" in problem(await serve().fetch(f"{variant}/mysql_query/{flag}"), 400)["detail"]


@pytest.mark.gen_test
@pytest.mark.parametrize("flag", ["-1", "1.5", "x", "", "1/2", "%31", "%D9%A3"])
async def test_any_other_flag_is_not_found(serve: Serve, flag: str) -> None:
    problem(await serve().fetch(f"/mysql_query/{flag}"), 404)


DELAYS = ["-1", "-0.001", "nan", "inf", "-inf", "61", "60.0001", "text", "", "1_0", "%201", "1e999", "1&delay=2", "%FF"]


@pytest.mark.gen_test
@pytest.mark.parametrize("variant", ["", "/blocking", "/threads", "/aiomysql", "/asyncmy"])
@pytest.mark.parametrize("delay", DELAYS)
async def test_a_bad_delay_is_a_bad_request(serve: Serve, bridge: FakeBridge, variant: str, delay: str) -> None:
    problem(await serve().fetch(f"{variant}/mysql_query/1?delay={delay}"), 400)
    assert bridge.sent == []


@pytest.mark.gen_test
async def test_without_the_demo_there_is_no_delay_and_no_comparison(serve: Serve, bridge: FakeBridge) -> None:
    client = serve(make_app(bridge, Settings()))
    problem(await client.fetch("/mysql_query/1?delay=0"), 400)
    problem(await client.fetch("/threads/mysql_query/1"), 404)
    assert (await client.fetch("/mysql_query/1")).code == 200


@pytest.mark.gen_test
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
async def test_a_wrong_method_is_refused_with_those_that_are_right(serve: Serve, method: str) -> None:
    for path in ("/mysql_query/1", "/i_want_you_now", "/readyz", "/blocking/mysql_query/1"):
        response = await serve().fetch(path, method=method)
        assert problem(response, 405)["detail"] == "Allowed are: GET, HEAD."
        assert response.headers["Allow"] == "GET, HEAD"


@pytest.mark.gen_test
async def test_a_whole_url_is_its_path_and_its_host_is_the_one_that_counts(serve: Serve) -> None:
    client = serve()
    for target, host, status in (
        ("http://localhost/i_want_you_now", "any", 200), ("HTTP://localhost:80/mysql_query/1?delay=0", "any", 200),
        ("https://localhost", "any", 200), ("http://attacker.example/healthz", "localhost", 421),
        ("http:///healthz", "any", 404), ("*", "any", 404),
    ):  # fmt: skip
        answer = await client.raw(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), (target, answer)


@pytest.mark.gen_test
async def test_head_is_get_without_the_body(serve: Serve) -> None:
    client = serve()
    for path in ("/mysql_query/1", "/i_want_you_now"):
        got, headed = await client.fetch(path), await client.fetch(path, method="HEAD")
        assert (headed.code, headed.body) == (200, b"")
        assert headed.headers["Content-Length"] == got.headers["Content-Length"]


@pytest.mark.gen_test
async def test_an_unknown_route_is_a_problem(serve: Serve) -> None:
    problem(await serve().fetch("/no/such/route"), 404)
    problem(await serve().fetch("/no/such/route", method="POST", body=b"x"), 404)


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/healthz", "/mysql_query/1", "/nowhere"])
async def test_headers_of_70_kilobytes_are_refused_and_the_next_request_is_not(serve: Serve, path: str) -> None:
    client = serve()
    problem(await client.fetch(path, headers={"X-Long": "x" * 70_000}), 431)
    assert (await client.fetch("/i_want_you_now", headers={"X-Long": "x" * 60_000})).code == 200


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/healthz", "/mysql_query/1", "/nowhere"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_2_megabytes_is_refused_and_the_next_request_is_not(
    serve: Serve, path: str, chunked: bool
) -> None:
    client = serve()
    body = b"x" * 2_000_000
    if chunked:
        framing = b"Transfer-Encoding: chunked\r\n\r\n1e8480\r\n" + body + b"\r\n0\r\n\r\n"
    else:
        framing = b"Content-Length: 2000000\r\n\r\n" + body
    then = b"GET /i_want_you_now HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    answer = await client.raw(f"GET {path} HTTP/1.1\r\nHost: h\r\n".encode() + framing + then)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in answer
    # The connection itself is unharmed.
    assert answer.count(b"HTTP/1.1 ") == 2
    assert answer.endswith(b"i want you, right now!")
    assert (await client.fetch("/i_want_you_now")).code == 200


@pytest.mark.gen_test
async def test_a_body_that_is_not_worth_reading_is_refused_before_it_comes(serve: Serve) -> None:
    answer = await serve().raw(b"POST /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000000\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in answer


@pytest.mark.gen_test
async def test_a_small_body_does_not_matter(serve: Serve) -> None:
    assert (await serve().fetch("/i_want_you_now", body=b"x" * 1000)).code == 200


@pytest.mark.gen_test
async def test_request_ids_are_kept_when_they_are_good_and_made_when_not(serve: Serve) -> None:
    client = serve()
    for given in ("a", "A-z.0_9", "x" * 64):
        response = await client.fetch("/i_want_you_now", headers={"X-Request-Id": given})
        assert response.headers["X-Request-Id"] == given
    seen = set()
    for given in ("", "x" * 65, "a b", 'a"b', "ä", "nwt_Abcdefgh_key"):
        response = await client.fetch("/nowhere", headers={"X-Request-Id": given})
        seen.add(problem(response, 404)["request_id"])
    assert len(seen) == 6
    assert all(len(made) == 32 for made in seen)


@pytest.mark.gen_test
async def test_a_task_that_fails_is_500_and_its_text_is_in_the_log_alone(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        response = await serve().fetch("/mysql_query/500", headers={"X-Request-Id": "req-1"})
    assert problem(response, 500)["type"] == "urn:problem-type:nowait:task-failed"
    assert b"secret" not in response.body
    lines = [record.getMessage() for record in caplog.records if "req-1" in record.getMessage()]
    assert any("LookupError: SELECT secret FROM users" in line for line in lines)


@pytest.mark.gen_test
async def test_the_text_of_a_worker_is_one_bounded_line_of_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(flag: int, delay: float) -> None:
        raise LookupError("one\ntwo \x1b[31m" + "x" * 1_000_000)

    client = serve(make_app(FakeBridge({"task.query_users": fail}, queues=QUEUES), Settings()))
    problem(await client.fetch("/mysql_query/1", headers={"X-Request-Id": "req-3"}), 500)
    (line,) = [text for text in caplog.messages if "req-3" in text and "LookupError" in text]
    assert line.isprintable() and "one\\ntwo" in line
    assert len(line) < 1200


@pytest.mark.gen_test
async def test_a_bug_of_the_server_is_500_without_a_traceback(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.routes.users.write_rows", None)
    response = await serve().fetch("/mysql_query/1", headers={"X-Request-Id": "req-2"})
    problem(response, 500)
    assert b"NoneType" not in response.body
    assert any("req-2" in record.getMessage() and record.exc_info for record in caplog.records)


@pytest.mark.gen_test
async def test_the_deadline_is_504_and_the_call_leaves_the_table(serve: Serve, bridge: FakeBridge) -> None:
    client = serve(make_app(bridge, Settings(demo=True, timeout=0.1)))
    response = await client.fetch("/mysql_query/1?delay=5")
    assert problem(response, 504)["title"] == "Deadline exceeded"
    assert bridge.in_flight == 0


@pytest.mark.gen_test
async def test_a_client_may_shorten_its_deadline_but_not_lengthen_it(serve: Serve) -> None:
    client = serve()
    response = await client.fetch("/mysql_query/1?delay=5", headers={"Prefer": "wait=0.1"})
    problem(response, 504)
    assert response.headers["Preference-Applied"] == "wait=0.1"
    response = await client.fetch("/mysql_query/1", headers={"Prefer": "wait=600"})
    assert response.code == 200
    assert "Preference-Applied" not in response.headers


@pytest.mark.gen_test
async def test_no_broker_is_503_with_retry_after_and_now_is_untouched(serve: Serve, bridge: FakeBridge) -> None:
    client = serve()
    bridge.state = "connecting"
    response = await client.fetch("/mysql_query/1")
    assert problem(response, 503)["type"] == "urn:problem-type:nowait:broker-unavailable"
    assert int(response.headers["Retry-After"]) >= 1
    assert (await client.fetch("/i_want_you_now")).code == 200


@pytest.mark.gen_test
async def test_too_many_calls_in_flight_are_503_with_retry_after(serve: Serve, bridge: FakeBridge) -> None:
    client = serve()
    slow = [asyncio.ensure_future(client.fetch("/mysql_query/1?delay=0.5")) for _ in range(3)]
    await until(lambda: bridge.in_flight == 3)
    response = await client.fetch("/mysql_query/1")
    assert problem(response, 503)["type"] == "urn:problem-type:nowait:overloaded"
    assert "Retry-After" in response.headers
    assert [answer.code for answer in await asyncio.gather(*slow)] == [200] * 3


@pytest.mark.gen_test
async def test_ready_means_that_tasks_can_be_sent_and_alive_that_the_loop_turns(
    serve: Serve, bridge: FakeBridge, app: WebApplication
) -> None:
    client = serve()
    assert (await client.fetch("/readyz")).code == 200
    for state, kind in {"connecting": "broker-unavailable", "blocked": "broker-blocked", "stopped": "stopping"}.items():
        bridge.state = state
        response = await client.fetch("/readyz")
        assert problem(response, 503)["type"].endswith(kind)
        assert "Retry-After" in response.headers
        assert (await client.fetch("/healthz")).code == 200
    bridge.state = "connected"
    app.in_flight.stopping = True
    problem(await client.fetch("/readyz"), 503)


@pytest.mark.gen_test
async def test_a_client_that_leaves_takes_its_call_along(
    serve: Serve, bridge: FakeBridge, app: WebApplication
) -> None:
    client = serve()
    with socket.create_connection(("127.0.0.1", client.port)) as sock:
        sock.sendall(b"GET /mysql_query/1?delay=30 HTTP/1.1\r\nHost: h\r\n\r\n")
        await until(lambda: bridge.in_flight == 1)
    await until(lambda: bridge.in_flight == 0)
    await until(lambda: not len(app.in_flight))
    assert (await client.fetch("/i_want_you_now")).code == 200


@pytest.mark.gen_test
async def test_a_client_that_leaves_while_the_queries_are_listed_sends_nothing_more(serve: Serve) -> None:
    listed = asyncio.Event()

    async def slow_list() -> list[dict[str, Any]]:
        await listed.wait()
        return list_queries()

    bridge = FakeBridge({"task.list_queries": slow_list, "task.run_query": run_query}, queues=QUEUES)
    app = make_app(bridge, Settings())
    client = serve(app)
    with socket.create_connection(("127.0.0.1", client.port)) as sock:
        sock.sendall(b"GET /queries/users?flag=1 HTTP/1.1\r\nHost: h\r\n\r\n")
        await until(lambda: bridge.in_flight == 1)
    await until(lambda: not len(app.in_flight))
    listed.set()
    assert len(json.loads((await client.fetch("/queries")).body)["queries"]) == 6
    assert [name for name, _, _ in bridge.sent] == ["task.list_queries"]


@pytest.mark.gen_test
async def test_a_client_that_leaves_in_the_middle_of_its_body_is_forgotten(serve: Serve, app: WebApplication) -> None:
    client = serve()
    with socket.create_connection(("127.0.0.1", client.port)) as sock:
        sock.sendall(b"POST /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nhalf")
        assert (await client.fetch("/i_want_you_now")).code == 200
    assert (await client.fetch("/i_want_you_now")).code == 200
    await until(lambda: not len(app.in_flight))
