"""The comparison routes: the same rows, queried by the server itself."""

import asyncio
from abc import ABC, abstractmethod
from typing import Any

from nowait.errors import DeadlineExceeded
from server.comparison import Comparison
from server.http.context import Context
from server.http.handler import BaseHandler
from server.routes.users import FLAG, parse_delay, parse_flag, write_rows


class ComparisonHandler(BaseHandler, ABC):
    """Base of the three: parse, query, write."""

    def initialize(self, context: Context, comparison: Comparison | None = None) -> None:
        super().initialize(context)
        assert comparison is not None
        self._comparison = comparison

    async def get(self, flag: str) -> None:
        number = parse_flag(flag)
        delay = parse_delay(self.get_query_arguments("delay", strip=False), self.context.demo)
        try:
            rows = await self.wait_for(self.query(number, delay))
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise DeadlineExceeded("the query took too long") from error
        write_rows(self, number, rows)

    @abstractmethod
    async def query(self, flag: int, delay: float) -> list[dict[str, Any]]:
        """The rows, by this variant's way. Raises TimeoutError at the request's deadline."""


class BlockingHandler(ComparisonHandler):
    """Stops the whole server for as long as the query takes: the disease."""

    async def query(self, flag: int, delay: float) -> list[dict[str, Any]]:
        return self._comparison.blocking(flag, delay)


class ThreadsHandler(ComparisonHandler):
    """A thread waits in the loop's place."""

    async def query(self, flag: int, delay: float) -> list[dict[str, Any]]:
        return await self._comparison.threads(flag, delay, self.deadline.remaining())


class AiomysqlHandler(ComparisonHandler):
    """A driver that waits on the loop, without blocking it."""

    async def query(self, flag: int, delay: float) -> list[dict[str, Any]]:
        return await self._comparison.aiomysql(flag, delay, self.deadline.remaining())


def routes(context: Context, comparison: Comparison) -> list[Any]:
    """The routes of this module."""
    options = {"context": context, "comparison": comparison}
    return [
        (rf"/blocking/mysql_query/{FLAG}", BlockingHandler, options),
        (rf"/threads/mysql_query/{FLAG}", ThreadsHandler, options),
        (rf"/aiomysql/mysql_query/{FLAG}", AiomysqlHandler, options),
    ]
