"""Traces of a whole stack: one from the client's through server, worker and database to the webhook."""

import json
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from secrets import token_hex
from threading import Thread
from typing import Any, NamedTuple

import pytest

from deploy.local.process import Process, free_port
from deploy.local.services import Services
from server.webhooks.signing import new_secret
from tests.conftest import ROOT, Start, celery_worker, printed, ready, services_settings
from tests.http import fetch
from tests.otlp import Span, Traces, receiving
from tests.system.conftest import wait_until


class Site(NamedTuple):
    url: str
    hook: str
    hooks: list[dict[str, str]]
    traces: Traces
    server: Process
    worker: Process


@pytest.fixture(scope="module")
def hooks() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The URL of a receiver of webhooks, and the headers of those that have come."""
    received: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            received.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def site(
    services: Services,
    new_vhosts: Iterator[str],
    start: Start,
    hooks: tuple[str, list[dict[str, str]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """A stack that trusts its clients; "queries.slow" is served by processes, all else by threads."""
    folder = tmp_path_factory.mktemp("queries") / "sql"
    shutil.copytree(ROOT / "tasks/sql", folder)
    (folder / "slow.sql").write_text("SELECT 1 AS one")
    (folder / "slow.toml").write_text('[slow]\nqueue = "queries.slow"\n')
    (folder / "bad.sql").write_text("SELECT no_such_column FROM users")
    settings = {**services_settings(services), "broker_url": next(new_vhosts), "traces": 1, "log_format": "json"}
    port = free_port()
    with receiving() as traces, pytest.MonkeyPatch.context() as patch:
        for name, value in traces.variables.items():
            patch.setenv(name, value)
        webhooks = {"webhook_secrets": new_secret(), "webhook_allow": hooks[0]}
        server = start("server", "server", port=port, demo=1, trust_traceparent=1, **webhooks, **settings)
        workers = [
            celery_worker(start, "tasks", *options.split(), queries=folder, **settings)
            for options in (
                "-P threads -c 4 -Q queries,queries.streams,queries.jobs",
                "-P prefork -c 1 -Q queries.slow",
            )
        ]
        yield Site(ready(server, port), *hooks, traces, server, workers[0])
        for process in (server, *workers):
            process.kill()


def begin(flags: str = "01") -> tuple[str, str, dict[str, str]]:
    """A client's trace, its span, and the headers of a request of it."""
    trace, span = token_hex(16), token_hex(8)
    return trace, span, {"traceparent": f"00-{trace}-{span}-{flags}", "tracestate": "client=1"}


def path(spans: list[Span], last: str) -> list[tuple[str, str, str]]:
    """Service, kind and name of the span of that name and of all above it, the highest first, and its parent."""
    by_id = {span.id: span for span in spans}
    (span,) = (span for span in spans if span.name == last)
    found: list[tuple[str, str, str]] = []
    while True:
        found.insert(0, (span.service, span.kind, span.name))
        if span.parent not in by_id:
            return [("", "", span.parent), *found]
        span = by_id[span.parent]


def lines(process: Process) -> list[dict[str, Any]]:
    """The log of a program; in front of it, workers print a banner."""
    return [json.loads(line) for line in printed(process).splitlines() if line.startswith("{")]


def named(*names: str) -> Any:
    return lambda spans: {*names} <= {span.name for span in spans}


def test_a_query_is_one_trace_from_the_client_to_the_database(site: Site) -> None:
    trace, client, headers = begin()
    answer = fetch(f"{site.url}/mysql_query/1", headers={**headers, "X-Request-Id": "the-request"})
    assert answer.status == 200
    spans = site.traces.of(trace, named("GET /mysql_query/{}", "send task.query_users", "task.query_users", "users"))
    assert path(spans, "users") == [
        ("", "", client),
        ("nowait-server", "server", "GET /mysql_query/{}"),
        ("nowait-server", "producer", "send task.query_users"),
        ("nowait-worker", "consumer", "task.query_users"),
        ("nowait-worker", "client", "users"),
    ]
    assert len(spans) == 4
    assert not any(span.failed for span in spans)
    request = next(span for span in spans if span.kind == "server")
    assert request.attributes == {
        "http.request.method": "GET", "http.route": "/mysql_query/{}", "nowait.request_id": "the-request",
        "http.response.status_code": 200,
    }  # fmt: skip


def test_a_process_of_a_pool_exports_the_spans_of_its_tasks(site: Site) -> None:
    trace, _, headers = begin()
    assert fetch(f"{site.url}/queries/slow", headers=headers).json()["rows"] == [{"one": 1}]
    names = ["GET /queries/{}", "send task.run_query", "task.run_query", "slow"]
    spans = site.traces.of(trace, named(*names))
    assert [name for _, _, name in path(spans, "slow")[1:]] == names


def test_a_stream_is_a_part_of_its_requests_trace(site: Site) -> None:
    trace, _, headers = begin()
    answer = fetch(f"{site.url}/queries/users?flag=1", headers={**headers, "Accept": "application/x-ndjson"})
    assert len(answer.body.splitlines()) == 10
    names = ["GET /queries/{}", "send task.stream_query", "task.stream_query", "users"]
    spans = site.traces.of(trace, named(*names))
    assert [name for _, _, name in path(spans, "users")[1:]] == names


def test_a_job_and_its_webhook_belong_to_the_trace_of_the_request_that_has_made_it(site: Site) -> None:
    trace, client, headers = begin()
    job = json.dumps({"name": "add_visit", "parameters": {"user": 1}, "webhook": f"{site.hook}/ended"}).encode()
    assert fetch(f"{site.url}/jobs", "POST", {**headers, "Content-Type": "application/json"}, job).status == 202
    spans = site.traces.of(trace, named("POST /jobs", "send task.run_job", "task.run_job", "deliver webhook"))
    (request,) = (span for span in spans if span.name == "POST /jobs")
    assert request.parent == client
    above = [("", "", client), ("nowait-server", "server", "POST /jobs")]
    assert path(spans, "deliver webhook") == [*above, ("nowait-server", "client", "deliver webhook")]
    sent = ("nowait-server", "producer", "send task.run_job")
    assert path(spans, "task.run_job") == [*above, sent, ("nowait-worker", "consumer", "task.run_job")]
    (run,) = (span for span in spans if span.name == "task.run_job")
    statements = [span for span in spans if span.parent == run.id]
    # The claim, what the job does, and its end; no text of any.
    assert {"UPDATE", "SELECT"} <= {span.name for span in statements}
    assert all(span.attributes == {"db.system.name": "mysql", "db.operation.name": span.name} for span in statements)
    # The receiver may go on with it.
    (hook,) = (span for span in spans if span.name == "deliver webhook")
    assert [headers["traceparent"] for headers in site.hooks] == [f"00-{trace}-{hook.id}-01"]
    assert hook.attributes["http.response.status_code"] == 204


def test_what_fails_says_by_what_and_no_more(site: Site) -> None:
    trace, _, headers = begin()
    answer = fetch(f"{site.url}/queries/bad", headers=headers)
    assert answer.status == 503
    assert answer.json()["trace_id"] == trace
    failures = {
        "GET /queries/{}": "503", "send task.run_query": "TaskFailed", "task.run_query": "QueryBroken",
        "bad": "QueryFailed",
    }  # fmt: skip
    spans = site.traces.of(trace, named(*failures))
    # Among others, where the server has to look at the list of queries first.
    assert {(span.name, span.attributes.get("error.type")) for span in spans if span.failed} == set(failures.items())
    assert "no_such_column" not in repr(spans)
    # The logs have the reason, by the trace.
    (line,) = (line for line in lines(site.server) if line.get("trace_id") == trace)
    assert (line["level"], line["request_id"]) == ("warning", answer.headers["x-request-id"])
    (line,) = (line for line in lines(site.worker) if line.get("trace_id") == trace and line["level"] == "error")
    assert (line["task"], "QueryBroken" in line["exception"]) == ("task.run_query", True)


def test_the_log_of_a_worker_names_task_and_trace_on_each_line(site: Site) -> None:
    trace, _, headers = begin()
    assert fetch(f"{site.url}/mysql_query/2", headers=headers).status == 200
    ended = "succeeded in"
    wait_until(lambda: any(trace in line and ended in line for line in printed(site.worker).splitlines()))
    (line,) = (line for line in lines(site.worker) if line.get("trace_id") == trace and ended in line["message"])
    assert (line["task"], line["level"], line["logger"]) == ("task.query_users", "info", "celery.app.trace")
    assert line["task_id"] in line["message"]


def test_a_trace_that_its_client_leaves_out_is_not_exported(site: Site) -> None:
    left_out, _, headers = begin("00")
    assert fetch(f"{site.url}/mysql_query/1", headers=headers).status == 200
    # One behind it, by the same ways.
    trace, _, headers = begin()
    assert fetch(f"{site.url}/mysql_query/1", headers=headers).status == 200
    site.traces.of(trace, named("GET /mysql_query/{}", "users"))
    assert not [span for span in site.traces.all() if span.trace == left_out]


def test_a_request_without_a_trace_or_with_none_that_can_be_read_begins_one(site: Site) -> None:
    for given in ({}, {"traceparent": "00-zz"}, {"traceparent": f"00-{'0' * 32}-{'0' * 16}-01"}):
        request_id = token_hex(8)
        fetch(f"{site.url}/mysql_query/1", headers={**given, "X-Request-Id": request_id})
        found: list[Span] = []

        def has_come() -> bool:
            found[:] = [s for s in site.traces.all() if s.attributes.get("nowait.request_id") == request_id]
            return bool(found)

        wait_until(has_come)
        assert found[0].parent == ""
