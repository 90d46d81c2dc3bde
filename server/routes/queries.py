"""Named queries: SQL that the worker hosts own, parameters typed and bound."""

from typing import Any

from tornado.web import HTTPError

from nowait.errors import OutcomeUnknown, TaskFailed
from server.catalogue import BadParameter
from server.http.handler import BridgedHandler, Context, write_json

QUEUE = "queries"


class QueriesHandler(BridgedHandler):
    """GET /queries"""

    async def get(self) -> None:
        queries = await self.context.catalogue.all(self.deadline.remaining())
        write_json(self, {"queries": [query.document() for query in queries]})


class QueryHandler(BridgedHandler):
    """GET /queries/{name}"""

    async def get(self, name: str) -> None:
        query = await self.context.catalogue.get(name, self.deadline.remaining())
        if query is None:
            raise HTTPError(404, "There is no query of that name.")
        given = {key: self.get_query_arguments(key, strip=False) for key in self.request.query_arguments}
        try:
            parameters = query.parse(given)
        except BadParameter as error:
            raise HTTPError(400, str(error)) from error
        try:
            rows = await self.run_task(
                "task.run_query", [name, parameters], queue=query.queue, idempotent=query.repeatable
            )
        except TaskFailed as error:
            # The workers' queries have changed since they were asked.
            if error.exception == "UnknownQuery":
                raise HTTPError(404, "There is no query of that name.") from error
            if error.exception == "BadParameters":
                raise HTTPError(400, "The query takes other parameters now.") from error
            if error.exception == "MayHaveRun":
                raise OutcomeUnknown("a worker was lost with the query, which must not run twice") from error
            raise
        write_json(self, {"query": name, "rows": rows})


def routes(context: Context) -> list[Any]:
    """The routes of this module."""
    return [
        (r"/queries", QueriesHandler, {"context": context}),
        (r"/queries/([A-Za-z0-9_.]{1,100})", QueryHandler, {"context": context}),
    ]
