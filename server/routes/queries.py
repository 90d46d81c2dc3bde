"""Named queries: SQL that the worker hosts own, parameters typed and bound."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tornado.web import HTTPError

from nowait.errors import TaskFailed
from server.http import accept
from server.http.body import read_json
from server.http.context import Context
from server.http.handler import write_json
from server.http.streams import StreamHandler
from server.http.tasks import TaskHandler
from server.openapi.operation import JSON, Answer, Component, Operation, Parameter, Schema, json, members, path
from server.openapi.shared import LIST, PREFER, TASK, TEXT
from server.parameters import BadParameter
from server.query import Query

# Apart from all others: however many queries wait, the list of them can be had.
CATALOGUE_QUEUE = "queries.catalogue"
# Apart, too: a stream takes as long as its reader does.
STREAMS_QUEUE = "queries.streams"

_ANY = "the rows of a query"
_ANY_ROW: Schema = {"type": "object"}
_QUERY = Component(
    "Query",
    members(
        {
            "name": TEXT,
            "description": TEXT,
            "parameters": {"type": "object", "description": "JSON Schema of an object with them"},
            "repeatable": {"type": "boolean"},
            "broken": {"type": "boolean"},
            "row": {"type": "object", "description": "JSON Schema of a row, as far as it is known"},
        }
    ),
)
# By media type: what the workers call it.
_STREAMED = {"application/x-ndjson": "ndjson", "text/csv": "csv"}


class QueriesHandler(TaskHandler):
    """GET /queries"""

    async def get(self) -> None:
        queries = await self.wait_for(self.context.catalogue.all(self.deadline.remaining()))
        write_json(self, {"queries": [query.document() for query in queries]})


class QueryHandler(StreamHandler):
    """GET /queries/{name}?parameter=… for queries that may run twice, POST /queries/{name} for all.

    A client that would rather have lines of JSON, or CSV, gets a stream.
    """

    _query: Query | None = None

    async def get(self, name: str) -> None:
        query = await self._find(name)
        if not query.idempotent:
            # A GET may be repeated by whatever stands between client and server.
            raise HTTPError(405, "This query must not run twice: use POST.")
        given = {key: self.get_query_arguments(key, strip=False) for key in self.request.query_arguments}
        await self._run(query, query.parameters.parse, given)

    async def post(self, name: str) -> None:
        query = await self._find(name)
        await self._run(query, query.parameters.check, read_json(self.request))

    def allowed_methods(self) -> Iterable[str]:
        query = self._query or self.context.catalogue.known(self.request.path.rpartition("/")[2])
        if query is not None and not query.idempotent:
            return ("POST",)
        return super().allowed_methods()

    async def _find(self, name: str) -> Query:
        """The query of that name. Raises HTTPError 404."""
        query = self.context.catalogue.known(name)
        if query is None:
            query = await self.wait_for(self.context.catalogue.get(name, self.deadline.remaining()))
        if query is None:
            raise HTTPError(404, "There is no query of that name.")
        self._query = query
        return query

    async def _run(self, query: Query, parse: Callable[[Any], dict[str, Any]], given: Any) -> None:
        try:
            parameters = parse(given)
        except BadParameter as error:
            raise HTTPError(400, str(error)) from error
        wanted = accept.preferred(",".join(self.request.headers.get_list("Accept")), (JSON, *_STREAMED))
        self.set_sticky_header("Vary", "Accept")
        try:
            if wanted in _STREAMED:
                arguments = [query.name, parameters, _STREAMED[wanted]]
                kind = f"{wanted}; charset=utf-8"
                await self.stream_task("task.stream_query", arguments, queue=STREAMS_QUEUE, content_type=kind)
                return
            rows = await self.run_task(
                "task.run_query", [query.name, parameters], queue=query.queue, idempotent=query.idempotent
            )
        except TaskFailed as error:
            # The workers' queries have changed since they were listed.
            if error.exception == "UnknownQuery":
                raise HTTPError(404, "There is no query of that name.") from error
            if error.exception == "BadParameters":
                raise HTTPError(400, "The query takes other parameters now.") from error
            raise
        await self.finish_encoded(b'{"query":"%s","rows":' % query.name.encode(), rows, b"}")


def routes(context: Context) -> list[Any]:
    """The routes of this module."""
    return [
        (r"/queries", QueriesHandler, {"context": context}),
        (r"/queries/([A-Za-z0-9_.]{1,100})", QueryHandler, {"context": context}),
    ]


def operations(context: Context) -> list[Operation]:
    """What they answer: one for each query that the workers have listed, and those that hold for any."""
    listed = Operation(
        id="queries",
        method="GET",
        path="/queries",
        group="queries",
        summary="the named queries",
        parameters=[PREFER],
        answers=[json("all of them", members({"queries": {"type": "array", "items": _QUERY}}))],
        problems=LIST,
    )
    found = context.catalogue.listed()
    others: dict[str, Any] = {"type": "string", "pattern": "^[A-Za-z0-9_.]{1,100}$"}
    if found:
        # Of two paths that a request may have, the one without parameters is meant.
        others["not"] = {"enum": [query.name for query in found]}
    name = path("name", others, "of a query that was added since")
    anything = Parameter("parameters", {"type": "object", "additionalProperties": TEXT}, "those of the query")
    any_query = [
        _operation("get_any_query", "GET", "{name}", _ANY, [name, anything], problems=[405]),
        _operation("post_any_query", "POST", "{name}", _ANY, [name], {"type": "object"}),
    ]
    return [listed, *(operation for query in found for operation in _of_query(query)), *any_query]


def _of_query(query: Query) -> list[Operation]:
    schema, what = query.parameters.strict, query.description or query.name
    parameters = [
        Parameter(name, each, each.get("description", ""), required=name in schema["required"])
        for name, each in schema["properties"].items()
    ]
    get = _operation(f"get_query_{query.name}", "GET", query.name, what, parameters, row=query.row)
    post = _operation(f"post_query_{query.name}", "POST", query.name, what, body=schema, row=query.row)
    return [get, post] if query.idempotent else [post]


def _operation(
    id: str,
    method: str,
    name: str,
    summary: str,
    parameters: Sequence[Parameter] = (),
    body: Schema | None = None,
    row: Schema = _ANY_ROW,
    problems: Sequence[int] = (),
) -> Operation:
    answer = members({"query": TEXT, "rows": {"type": "array", "items": row}})
    kinds = {JSON: answer, **{kind: TEXT for kind in _STREAMED}}
    return Operation(
        id=id,
        method=method,
        path=f"/queries/{name}",
        group="queries",
        summary=summary,
        parameters=[*parameters, PREFER],
        body=body,
        answers=[Answer("its rows, by `Accept` as JSON, or streamed as lines of JSON or as CSV", kinds)],
        problems=(400, 404, *TASK, *problems),
    )
