"""Named queries: SQL that the worker hosts own, parameters typed and bound."""

from collections.abc import Awaitable, Callable, Iterable
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
from server.parameters import BadParameter
from server.query import Query

# Apart from all others: however many queries wait, the list of them can be had.
CATALOGUE_QUEUE = "queries.catalogue"
# Apart, too: a stream takes as long as its reader does.
STREAMS_QUEUE = "queries.streams"

_TASK = "task.run_query"
_JSON = "application/json"
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
        given = {key: self.get_query_arguments(key, strip=False) for key in self.request.query_arguments}
        await self._run(query, query.parameters.parse, given, self._answer)

    async def post(self, name: str) -> None:
        query = await self._find(name)
        await self._run(query, query.parameters.check, read_json(self.request), self._answer_anew)

    def allowed_methods(self) -> Iterable[str]:
        if self._query is not None and not self._query.idempotent:
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
        wanted = accept.preferred(",".join(self.request.headers.get_list("Accept")), (_JSON, *_STREAMED))
        self.vary_by("Accept")
        try:
            if wanted in _STREAMED:
                arguments = [query.name, parameters, _STREAMED[wanted]]
                kind = f"{wanted}; charset=utf-8"
                await self.stream_task("task.stream_query", arguments, queue=STREAMS_QUEUE, content_type=kind)
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
            queue=query.queue,
        )  # fmt: skip
        await self.finish_answer(
            AnswerKey.of(self.owner, query, parameters),
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
