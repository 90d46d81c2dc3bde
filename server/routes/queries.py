"""Named queries: SQL that the worker hosts own, parameters typed and bound."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

from tornado.web import HTTPError

from nowait.errors import TaskFailed
from server.answers.key import AnswerKey
from server.http import accept
from server.http.access import Access
from server.http.answers import AnswerHandler
from server.http.body import read_json
from server.http.context import Context
from server.http.handler import write_json
from server.http.streams import StreamHandler
from server.http.tasks import TaskHandler
from server.openapi.offer import Offer
from server.openapi.operation import JSON, Answer, Component, Operation, Parameter, Schema, header, json, members, path
from server.openapi.shared import LIST, PREFER, TASK, TEXT
from server.parameters import BadParameter
from server.query import Query

# Apart from all others: however many queries wait, the list of them can be had.
CATALOGUE_QUEUE = "queries.catalogue"
# Apart, too: a stream takes as long as its reader does.
STREAMS_QUEUE = "queries.streams"

_TASK = "task.run_query"
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
            "cache": {"type": "number", "minimum": 0, "description": "seconds in which an answer may be given again"},
            "row": {"type": "object", "description": "JSON Schema of a row, as far as it is known"},
        }
    ),
)
# Of rows as JSON that others may get as well, or have got.
_SHARED = {"Cache-Status": "what came of that (RFC 9211)"}
_KEPT = {
    "Age": "seconds since the rows came, where they are given again",
    "Cache-Control": "`max-age`: seconds in which they may be given again",
    "ETag": "of these rows",
}
_FRESH = header("Cache-Control", TEXT, "`no-cache`, `no-store`, or `max-age=SECONDS`: how old the rows may be")
_KNOWN = header("If-None-Match", TEXT, "the ETag of rows that are known")
# By media type: what the workers call it.
_STREAMED = {"application/x-ndjson": "ndjson", "text/csv": "csv"}


class QueriesHandler(TaskHandler):
    """GET /queries"""

    access = Access("queries")

    async def get(self) -> None:
        queries = await self.wait_for(self.context.catalogue.all(self.deadline.remaining()))
        may = self.client.scopes.allow
        write_json(self, {"queries": [query.document() for query in queries if may("queries", "", query.name)]})


class QueryHandler(StreamHandler, AnswerHandler):
    """GET /queries/{name}?parameter=… for queries that may run twice, POST /queries/{name} for all.

    A client that would rather have lines of JSON, or CSV, gets a stream.
    """

    access = Access("queries", named=True)

    _query: Query | None = None

    async def get(self, name: str) -> None:
        query = await self._find(name)
        if not query.idempotent:
            # A GET may be repeated by whatever stands between client and server.
            raise HTTPError(405, "This query must not run twice: use POST.")
        await self._run(query, query.parameters.parse, self._arguments(), self._answer)

    async def post(self, name: str) -> None:
        query = await self._find(name)
        await self._run(query, query.parameters.check, read_json(self.request), self._answer_anew)

    def _arguments(self) -> dict[str, list[str]]:
        """The parameters of the URL, as they are: Tornado's own have blanks in place of control characters.

        Raises HTTPError 400.
        """
        try:
            return {key: [value.decode() for value in values] for key, values in self.request.query_arguments.items()}
        except UnicodeDecodeError as error:
            raise HTTPError(400, "Parameters in UTF-8 are expected.") from error

    def allowed_methods(self) -> Iterable[str]:
        query = self._query
        # Of who has shown no key yet, no name is looked up.
        gate = self.context.gate
        if query is None and not (gate.needs_keys and self.client is gate.anybody):
            query = self.context.catalogue.known(self.request.path.rpartition("/")[2])
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

    async def _run(
        self,
        query: Query,
        parse: Callable[[Any], dict[str, Any]],
        given: Any,
        answer: Callable[[Query, dict[str, Any]], Awaitable[None]],
    ) -> None:
        try:
            parameters = parse(given)
        except BadParameter as error:
            raise HTTPError(400, str(error)) from error
        wanted = accept.preferred(",".join(self.request.headers.get_list("Accept")), (JSON, *_STREAMED))
        self.vary_by("Accept")
        try:
            if wanted in _STREAMED:
                arguments = [query.name, parameters, _STREAMED[wanted]]
                kind = f"{wanted}; charset=utf-8"
                await self.stream_task(
                    "task.stream_query", arguments, queue=STREAMS_QUEUE, content_type=kind, idempotent=query.idempotent
                )
                return
            await answer(query, parameters)
        except TaskFailed as error:
            # The workers' queries have changed since they were listed.
            if error.exception == "UnknownQuery":
                raise HTTPError(404, "There is no query of that name.") from error
            if error.exception == "BadParameters":
                raise HTTPError(400, "The query takes other parameters now.") from error
            raise

    async def _answer(self, query: Query, parameters: dict[str, Any]) -> None:
        """Answer with rows that others may get as well, or have got."""
        send = partial(
            self.context.tasks.send_task, _TASK, [query.name, parameters], idempotent=True, encoded=True,
            client=self.caller, queue=query.queue,
        )  # fmt: skip
        await self.finish_answer(
            AnswerKey.of(query, parameters),
            lambda seconds: send(timeout=seconds),
            _start(query),
            lifetime=query.cache,
            shared=query.coalesce,
        )

    async def _answer_anew(self, query: Query, parameters: dict[str, Any]) -> None:
        """Answer with rows of this request's own."""
        rows = await self.run_task(
            _TASK, [query.name, parameters], queue=query.queue, idempotent=query.idempotent
        )
        await self.finish_encoded(_start(query), rows, b"}")


def _start(query: Query) -> bytes:
    """What stands before the rows."""
    return b'{"query":"%s","rows":' % query.name.encode()


def routes(context: Context) -> list[Any]:
    """The routes of this module."""
    return [
        (r"/queries", QueriesHandler, {"context": context}),
        (r"/queries/([A-Za-z0-9_.]{1,100})", QueryHandler, {"context": context}),
    ]


def operations(offer: Offer) -> list[Operation]:
    """What they answer: one for each query that the workers have listed, and those that hold for any."""
    listed = Operation(
        id="queries",
        method="GET",
        path="/queries",
        group="queries",
        summary="the named queries",
        scope="queries",
        parameters=[PREFER],
        answers=[json("all of them", members({"queries": {"type": "array", "items": _QUERY}}))],
        problems=LIST,
    )
    found = offer.queries
    others: dict[str, Any] = {"type": "string", "pattern": "^[A-Za-z0-9_.]{1,100}$"}
    if found:
        # Of two paths that a request may have, the one without parameters is meant.
        others["not"] = {"enum": [query.name for query in found]}
    name = path("name", others, "of a query that was added since")
    anything = Parameter("parameters", {"type": "object", "additionalProperties": TEXT}, "those of the query")
    any_query = [
        _operation("get_any_query", "GET", "{name}", _ANY, [name, anything], problems=[405], kept=True),
        _operation("post_any_query", "POST", "{name}", _ANY, [name], {"type": "object"}),
    ]
    return [listed, *(operation for query in found for operation in _of_query(query)), *any_query]


def _of_query(query: Query) -> list[Operation]:
    schema, what = query.parameters.strict, query.description or query.name
    parameters = [
        Parameter(name, each, each.get("description", ""), required=name in schema["required"])
        for name, each in schema["properties"].items()
    ]
    name, row = query.name, query.row
    get = _operation(f"get_query_{name}", "GET", name, what, parameters, row=row, kept=query.cache > 0)
    post = _operation(f"post_query_{name}", "POST", name, what, body=schema, row=row)
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
    kept: bool = False,
) -> Operation:
    answer = members({"query": TEXT, "rows": {"type": "array", "items": row}})
    kinds = {JSON: answer, **{kind: TEXT for kind in _STREAMED}}
    reading = method == "GET"
    headers = {**(_SHARED if reading else {}), **(_KEPT if kept else {})}
    answers = [Answer("its rows, by `Accept` as JSON, or streamed as lines of JSON or as CSV", kinds, headers)]
    if kept:
        answers.append(Answer("the client has these rows already", headers={**_SHARED, **_KEPT}, status=304))
    return Operation(
        id=id,
        method=method,
        path=f"/queries/{name}",
        group="queries",
        summary=summary,
        parameters=[*parameters, PREFER, *([_FRESH] if reading else []), *([_KNOWN] if kept else [])],
        body=body,
        answers=answers,
        problems=(400, 404, *TASK, *problems),
        scope=f"queries:{'NAME' if name.startswith('{') else name}",
        timed=True,
    )
