"""The OpenAPI document: of every route, of what the workers list, and as docs/settings.md has it."""

import copy
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
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
from server.http.access import KNOWN, OPEN, Access
from server.http.handler import BaseHandler
from server.names import Bounds, Names
from server.openapi import current
from server.query import Query
from server.settings import Settings
from tests.docs.pages import rows
from tests.server.fake_jobs import FakePublisher, FakeStore
from tests.server.jobs_site import COUNT, serving
from tests.server.key_files import Keys, bearer, new_key
from tests.server.test_routes import Client

FLAG = {"type": "integer", "minimum": 0, "description": "which"}
PARAMETERS = {"type": "object", "properties": {"flag": FLAG, "more": {"type": "string", "default": ""}}}
ROW = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
QUERY = {"description": "Some.", "parameters": PARAMETERS, "queue": "queries", "row": ROW}
QUERIES = [
    {**QUERY, "name": "some", "repeatable": True},
    {**QUERY, "name": "once", "repeatable": False},
    {**QUERY, "name": "kept", "repeatable": True, "cache": 5.0},
]
KIND = {"name": "count", "description": "Counts.", "parameters": PARAMETERS, "queue": "queries.jobs", "once": True}
TASKS = {"task.list_queries": lambda: QUERIES, "task.list_jobs": lambda: [{**KIND, "retry": Retry().document()}]}
METHODS = ("get", "put", "post", "delete", "patch")


@pytest.fixture(params=["demo", "plain", "keys"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Those of each kind of server whose documents differ."""
    return {"demo": Settings(demo=True), "plain": Settings(), "keys": with_keys(tmp_path)}[request.param]


def with_keys(folder: Path) -> Settings:
    keys = Keys(folder / "keys.json")
    keys.add()
    return Settings(keys=keys.path)


def make(settings: Settings = Settings(demo=True)) -> WebApplication:
    return make_app(FakeBridge(TASKS, queues=["queries.catalogue"]), settings)


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
async def test_the_document_is_one(settings: Settings) -> None:
    OpenAPIV31SpecValidator(await document(make(settings))).validate()


def served(app: WebApplication) -> dict[tuple[str, str], type[BaseHandler]]:
    """The handler of each method and path that there is a route for."""
    found = {}
    for rule in app.wildcard_router.rules:
        assert isinstance(rule.matcher, PathMatches)
        path = re.sub(r"\((?:[^()]|\([^)]*\))*\)", "{}", rule.matcher.regex.pattern.rstrip("$")).replace("\\", "")
        handler: Any = rule.target
        for method in METHODS:
            if getattr(handler, method) is not getattr(BaseHandler, method):
                found[method, path] = handler
    return found


@pytest.mark.gen_test
async def test_every_route_is_in_the_document_with_its_methods_and_nothing_else_is(settings: Settings) -> None:
    app = make(settings)
    of_queries = {(method, f"/queries/{name}") for name in ("some", "kept") for method in ("get", "post")}
    of_queries.add(("post", "/queries/once"))
    assert operations(await document(app)) == served(app).keys() | (set() if settings.keys else of_queries)


@pytest.mark.gen_test
async def test_an_operation_needs_a_key_where_its_route_does(tmp_path: Path) -> None:
    app = make(with_keys(tmp_path))
    made = await document(app)
    assert made["security"] == [{"key": []}] and made["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    handlers = served(app)
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            access = handlers[method, re.sub(r"\{[^}]*\}", "{}", path)].access
            security = {OPEN: [], KNOWN: [{}, {"key": []}]}.get(access)
            assert operation.get("security") == security, path
            refusals = {OPEN: set(), KNOWN: {"401", "429"}}.get(access, {"401", "403", "429"})
            assert {"401", "403", "429"} & operation["responses"].keys() == refusals, path
            scope = re.findall(r"has to have the scope `([a-z.]+)", operation.get("description", ""))
            assert scope == ([] if access.area is None else [".".join(filter(None, scope_of(access, method)))]), path


def scope_of(access: Access, method: str) -> tuple[str | None, str]:
    return access.area, access.action(method.upper())


@pytest.mark.gen_test
async def test_the_document_has_the_names_that_a_key_is_for(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    some = keys.add("some", "queries:some topics.read")
    admin, wrong = keys.add("boss"), bearer(new_key()[0].text)
    app = make(Settings(keys=keys.path, topics=Names({"weather"}), queues=Bounds({"letters": 1})))
    named = "/queries/some", "/queries/once", '"count"', "weather", "letters"
    async with serving_app(app) as client:
        for headers, expected in ((some, (True, False, False, True, False)), (admin, (True,) * 5), ({}, (False,) * 5)):
            answer = await client.fetch("/openapi.json", headers=headers)
            assert tuple(name in answer.body.decode() for name in named) == expected
            assert answer.headers["Vary"] == "Authorization, Accept-Encoding"
            # Those of /jobs.
            listing = json.loads(answer.body)["paths"]["/jobs"]["get"]["parameters"]
            assert ("owner" in [each["name"] for each in listing]) == (headers is not some)
        answer = await client.fetch("/openapi.json", headers=wrong)
        assert json.loads(answer.body)["type"] == "urn:problem-type:nowait:key-invalid"


@pytest.mark.gen_test
async def test_who_has_shown_no_key_learns_no_name(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    key = keys.add()
    app = make(Settings(keys=keys.path, topics=frozenset({"news"}), queues={"parcels": 5}))
    async with serving_app(app) as client:
        assert "once" in (await client.fetch("/queries", headers=key)).body.decode()
        text = (await client.fetch("/openapi.json")).body.decode()
        traced = await client.fetch("/queries/once", method="TRACE")
    assert not re.search(r'"(some|kept|count|news|parcels)"|/queries/[a-z]', text)
    assert (traced.code, traced.headers["Allow"]) == (405, "GET, HEAD, POST")


@pytest.mark.gen_test
async def test_the_table_of_routes_has_the_same() -> None:
    named = {
        (cells[0].split()[0].strip("`").lower(), re.sub(r"\{.*?\}", "{}", re.findall(r"/[^?`]*", cells[0])[0]))
        for cells in rows("docs/settings.md", "Routes")
    }
    found = {each for each in operations(await document(make())) if not re.search("/queries/(some|once|kept)", each[1])}
    assert named == found


@pytest.mark.gen_test
async def test_every_status_is_one_that_the_page_of_status_codes_has(tmp_path: Path) -> None:
    table = rows("docs/settings.md", "Status codes")
    named = {status for cells in table for status in re.findall(r"[45]\d\d", cells[0])}
    made = [await document(make()), await document(make(with_keys(tmp_path)))]
    methods = [each for document in made for path in document["paths"].values() for each in path.values()]
    used = {status for each in methods for status in each["responses"]}
    assert {status for status in used if status >= "400"} == named


@pytest.mark.gen_test
async def test_a_query_has_its_parameters_and_the_types_of_its_rows() -> None:
    made = await document(make())
    get, post = made["paths"]["/queries/some"]["get"], made["paths"]["/queries/once"]["post"]
    flag, more, prefer, fresh = get["parameters"]
    assert (flag["name"], flag["in"], flag["required"], flag["schema"]) == ("flag", "query", True, FLAG)
    assert (more["required"], prefer["name"], fresh["name"]) == (False, "Prefer", "Cache-Control")
    assert post["requestBody"]["content"]["application/json"]["schema"] == {
        **PARAMETERS, "required": ["flag"], "additionalProperties": False,
    }  # fmt: skip
    for operation in (get, post):
        answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert answer["properties"]["rows"]["items"] == ROW
    # Neither is kept.
    assert "304" not in get["responses"] and "Cache-Status" in get["responses"]["200"]["headers"]


@pytest.mark.gen_test
async def test_a_query_whose_answers_are_kept_has_what_that_takes() -> None:
    made = await document(make())
    get, post = made["paths"]["/queries/kept"]["get"], made["paths"]["/queries/kept"]["post"]
    kept = {"Age", "Cache-Control", "ETag", "Cache-Status"}
    assert kept < get["responses"]["200"]["headers"].keys() and kept < get["responses"]["304"]["headers"].keys()
    assert "If-None-Match" in [parameter["name"] for parameter in get["parameters"]]
    assert "304" not in post["responses"] and not kept & post["responses"]["200"]["headers"].keys()


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
    schemas = made["components"]["schemas"]
    job, scheduled = schemas["NewJob"]["properties"], schemas["NewSchedule"]["properties"]["job"]["properties"]
    assert job.keys() == {"name", "parameters", "countdown", "eta", "expires", "retry", "webhook"}
    assert scheduled.keys() == {"name", "parameters", "queue", "retry", "webhook"}


@pytest.mark.gen_test
async def test_the_documents_of_jobs_are_as_the_document_has_them() -> None:
    async with serving(FakeStore(), FakePublisher()) as site:
        made = json.loads((await site.fetch("/openapi.json")).body)
        posted = json.loads((await site.post(COUNT)).body)
        listed = json.loads((await site.fetch("/jobs")).body)
    schemas = made["components"]["schemas"]
    for name, found in (("Job", posted), ("JobSummary", listed["jobs"][0])):
        Draft202012Validator(schemas[name]).validate(found)
        assert found.keys() | {"owner"} == schemas[name]["properties"].keys()


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


@pytest.mark.gen_test
async def test_a_list_that_is_as_before_is_looked_into_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.catalogue._MIN_AGE", 0.0)
    monkeypatch.setattr("server.catalogue._MAX_AGE", 0.0)
    fetched, made, listed = [], [], [QUERIES]
    making = current.document
    monkeypatch.setattr(current, "document", lambda *all_of: made.append(all_of) or making(*all_of))

    def list_queries() -> Any:
        fetched.append(True)
        return copy.deepcopy(listed[-1])

    tasks = {**TASKS, "task.list_queries": list_queries}
    app = make_app(FakeBridge(tasks, queues=["queries.catalogue"]), Settings(demo=True))
    compared = []
    monkeypatch.setattr(Query, "__eq__", lambda *both: compared.append(both) or NotImplemented)
    async with serving_app(app) as client:
        while len(fetched) < 3:
            before = (await client.fetch("/openapi.json")).body
        assert len(made) == 1 and not compared
        listed.append(QUERIES[1:])
        while (await client.fetch("/openapi.json")).body == before:
            pass
        assert len(made) == 2 and not compared
