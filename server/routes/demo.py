"""The comparison routes: the same rows, queried by the server itself."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from nowait.errors import DeadlineExceeded
from nowait.messages.encoded import Encoded
from server.comparison import Comparison
from server.http.access import OPEN
from server.http.context import Context
from server.http.handler import BaseHandler
from server.openapi.offer import Offer
from server.openapi.operation import Operation
from server.routes.users import FLAG, parse_delay, parse_flag, users_operation, write_rows


class ComparisonHandler(BaseHandler):
    """GET /blocking/mysql_query/{flag}, and the same for the other variants."""

    access = OPEN

    def initialize(self, context: Context, query: Callable[[int, float], Awaitable[Encoded]] | None = None) -> None:
        super().initialize(context)
        assert query is not None
        self._query = query

    async def get(self, flag: str) -> None:
        number = parse_flag(flag)
        delay = parse_delay(self.get_query_arguments("delay", strip=False), self.context.demo)
        try:
            rows = await self.wait_for(asyncio.wait_for(self._query(number, delay), self.deadline.remaining()))
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise DeadlineExceeded("the query took too long") from error
        await write_rows(self, number, rows)


def routes(context: Context, comparison: Comparison) -> list[Any]:
    """The routes of this module."""
    return [
        (rf"/{variant}/mysql_query/{FLAG}", ComparisonHandler, {"context": context, "query": query})
        for variant, query in (
            ("blocking", comparison.blocking),
            ("threads", comparison.threads),
            ("aiomysql", comparison.aiomysql),
            ("asyncmy", comparison.asyncmy),
        )
    ]


def operations(_: Offer) -> list[Operation]:
    """What they answer."""
    return [
        users_operation(f"/{variant}", f"the same rows, queried {how}", demo=True, open=True)
        for variant, how in (
            ("blocking", "in the handler, which blocks the loop"),
            ("threads", "in a pool of threads"),
            ("aiomysql", "through aiomysql"),
            ("asyncmy", "through asyncmy"),
        )
    ]
