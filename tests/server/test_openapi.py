"""The OpenAPI document: of every route, of what the workers list, and as docs/settings.md has it."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from tornado.httpserver import HTTPServer
from tornado.routing import PathMatches
from tornado.testing import bind_unused_port

from nowait.jobs.retry import Retry
from nowait.testing import FakeBridge
from server.app import WebApplication, make_app
from server.http.handler import BaseHandler
from server.settings import Settings
from tests.docs.pages import rows
from tests.server.fake_jobs import FakePublisher, FakeStore
from tests.server.jobs_site import COUNT, serving
from tests.server.test_routes import Client

FLAG = {"type": "integer", "minimum": 0, "description": "which"}
PARAMETERS = {"type": "object", "properties": {"flag": FLAG, "more": {"type": "string", "default": ""}}}
ROW = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
QUERY = {"description": "Some.", "parameters": PARAMETERS, "queue": "queries", "row": ROW}
QUERIES = [{**QUERY, "name": "some", "repeatable": True}, {**QUERY, "name": "once", "repeatable": False}]
KIND = {"name": "count", "description": "Counts.", "parameters": PARAMETERS, "queue": "queries.jobs", "once": True}
TASKS = {"task.list_queries": lambda: QUERIES, "task.list_jobs": lambda: [{**KIND, "retry": Retry().document()}]}
METHODS = ("get", "put", "post", "delete", "patch")


def make(demo: bool = True) -> WebApplication:
    bridge = FakeBridge(TASKS, queues=["queries.catalogue"])
    return make_app(bridge, Settings(demo=demo))


@asynccontextmanager
async def serving_app(app: WebApplication) -> AsyncIterator[Client]:
    """Serves an application while the block lasts."""
    server = HTTPServer(app)
    sock, port = bind_unused_port()
    server.add_socket(sock)
    yield Client(port)
    server.stop()
    await server.close_all_connections()


async def document(app: WebApplication) -> dict[str, Any]:
    """The document of a server."""
    async with serving_app(app) as client:
        response = await client.fetch("/openapi.json")
    assert (response.code, response.headers["Content-Type"]) == (200, "application/json")
    found: dict[str, Any] = json.loads(response.body)
    return found


def operations(of: dict[str, Any]) -> set[tuple[str, str]]:
    """Method and path of each, parameters without their names."""
    return {
        (method, re.sub(r"\{[^}]*\}", "{}", path)) for path, methods in of["paths"].items() for method in methods
    }


@pytest.mark.gen_test
@pytest.mark.parametrize("demo", [True, False])
async def test_the_document_is_one(demo: bool) -> None:
    OpenAPIV31SpecValidator(await document(make(demo))).validate()


@pytest.mark.gen_test
@pytest.mark.parametrize("demo", [True, False])
async def test_every_route_is_in_the_document_with_its_methods_and_nothing_else_is(demo: bool) -> None:
    served = set()
    for rule in make(demo).wildcard_router.rules:
        assert isinstance(rule.matcher, PathMatches)
        path = re.sub(r"\((?:[^()]|\([^)]*\))*\)", "{}", rule.matcher.regex.pattern.rstrip("$")).replace("\\", "")
        handler: Any = rule.target
        served |= {(method, path) for method in METHODS if getattr(handler, method) is not getattr(BaseHandler, method)}
    of_queries = {("get", "/queries/some"), ("post", "/queries/some"), ("post", "/queries/once")}
    assert operations(await document(make(demo))) == served | of_queries


@pytest.mark.gen_test
async def test_the_table_of_routes_has_the_same() -> None:
    named = {
        (cells[0].split()[0].strip("`").lower(), re.sub(r"\{.*?\}", "{}", re.findall(r"/[^?`]*", cells[0])[0]))
        for cells in rows("docs/settings.md", "Routes")
    }
    found = {each for each in operations(await document(make())) if not re.search("/queries/(some|once)", each[1])}
    assert named == found


@pytest.mark.gen_test
async def test_every_status_is_one_that_the_page_of_status_codes_has() -> None:
    table = rows("docs/settings.md", "Status codes")
    named = {status for cells in table for status in re.findall(r"[45]\d\d", cells[0])}
    made = await document(make())
    used = {status for methods in made["paths"].values() for each in methods.values() for status in each["responses"]}
    assert {status for status in used if status >= "400"} == named


@pytest.mark.gen_test
async def test_a_query_has_its_parameters_and_the_types_of_its_rows() -> None:
    made = await document(make())
    get, post = made["paths"]["/queries/some"]["get"], made["paths"]["/queries/once"]["post"]
    flag, more, prefer = get["parameters"]
    assert (flag["name"], flag["in"], flag["required"], flag["schema"]) == ("flag", "query", True, FLAG)
    assert (more["required"], prefer["name"]) == (False, "Prefer")
    assert post["requestBody"]["content"]["application/json"]["schema"] == {
        **PARAMETERS, "required": ["flag"], "additionalProperties": False,
    }  # fmt: skip
    for operation in (get, post):
        answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert answer["properties"]["rows"]["items"] == ROW


@pytest.mark.gen_test
async def test_a_job_is_asked_for_with_the_parameters_of_its_kind() -> None:
    schema = (await document(make()))["components"]["schemas"]["NewJob"]
    del schema["oneOf"][0]["properties"]["retry"]  # refers to another component
    new_job = Draft202012Validator(schema)
    assert new_job.is_valid({"name": "count", "parameters": {"flag": 1}, "countdown": 1.5})
    for wrong in (
        {"name": "count"},
        {"name": "other", "parameters": {"flag": 1}},
        {"name": "count", "parameters": {"flag": -1}},
        {"name": "count", "parameters": {"flag": 1}, "countdown": 1, "eta": "2026-11-25T06:00:00Z"},
        {"name": "count", "parameters": {"flag": 1}, "unknown": 1},
    ):
        assert not new_job.is_valid(wrong), wrong


@pytest.mark.gen_test
async def test_without_workers_the_document_has_what_holds_for_any() -> None:
    made = await document(make_app(FakeBridge({}, queues=()), Settings()))
    OpenAPIV31SpecValidator(made).validate()
    assert [path for path in made["paths"] if path.startswith("/queries/")] == ["/queries/{name}"]


@pytest.mark.gen_test
async def test_the_documents_of_jobs_are_as_the_document_has_them() -> None:
    async with serving(FakeStore(), FakePublisher()) as site:
        made = json.loads((await site.fetch("/openapi.json")).body)
        posted = json.loads((await site.post(COUNT)).body)
        listed = json.loads((await site.fetch("/jobs")).body)
    schemas = made["components"]["schemas"]
    for name, found in (("Job", posted), ("JobSummary", listed["jobs"][0])):
        Draft202012Validator(schemas[name]).validate(found)
        assert found.keys() == schemas[name]["properties"].keys()


@pytest.mark.gen_test
@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize(("path", "allowed"), [("/queries/once", "POST"), ("/queries/some", "GET, HEAD, POST")])
async def test_a_method_that_a_query_does_not_have_is_405_with_those_that_it_has(
    method: str, path: str, allowed: str
) -> None:
    async with serving_app(make()) as client:
        await client.fetch("/queries")
        response = await client.fetch(path, method=method)
    assert (response.code, response.headers["Allow"]) == (405, allowed)
