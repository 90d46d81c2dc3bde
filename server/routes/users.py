"""The main job: rows of `users`, queried by a worker."""

import re
from typing import Any

from tornado.web import HTTPError

from nowait.messages.encoded import Encoded
from server.http.access import Access
from server.http.context import Context
from server.http.handler import BaseHandler
from server.http.tasks import TaskHandler
from server.openapi.offer import Offer
from server.openapi.operation import Operation, Parameter, json, members, path
from server.openapi.shared import PREFER, TASK

QUEUE = "queries"
FLAG = r"([0-9]+)"
MAX_FLAG = 2**31 - 1
MAX_DELAY = 60.0  # seconds
ROWS = {"type": "array", "items": {"type": "object"}}
_DELAY = re.compile(r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


class UsersHandler(TaskHandler):
    """GET /mysql_query/{flag}"""

    access = Access("queries")

    async def get(self, flag: str) -> None:
        self.require("mysql_query")
        number = parse_flag(flag)
        delay = parse_delay(self.get_query_arguments("delay", strip=False), self.context.demo)
        rows = await self.run_task("task.query_users", [number, delay], queue=QUEUE, idempotent=True)
        await write_rows(self, number, rows)


def parse_flag(text: str) -> int:
    """The flag of a path that FLAG matched. Raises HTTPError 400 when it is too large."""
    digits = text.lstrip("0") or "0"
    if len(digits) > 10 or int(digits) > MAX_FLAG:
        raise HTTPError(400, f"flag: an integer from 0 to {MAX_FLAG} is expected.")
    return int(digits)


def parse_delay(given: list[str], demo: bool) -> float:
    """The values of the query parameter `delay` as one, in seconds; 0 for none.

    Raises HTTPError 400 when it is no number from 0 to 60, given twice, or this is no demo.
    """
    if not given:
        return 0
    if not demo:
        raise HTTPError(400, "delay: it is only there with NOWAIT_DEMO=1.")
    # float() takes more than a client should send: underscores, spaces, other digits.
    if len(given) > 1 or not _DELAY.fullmatch(given[0]) or float(given[0]) > MAX_DELAY:
        raise HTTPError(400, f"delay: one number of seconds from 0 to {MAX_DELAY:g} is expected.")
    return float(given[0])


async def write_rows(handler: BaseHandler, flag: int, rows: Encoded) -> None:
    """Finish with the rows; every variant of the query answers through this."""
    await handler.finish_encoded(b'{"flag":%d,"rows":' % flag, rows, b"}")


def routes(context: Context) -> list[Any]:
    """The routes of this module."""
    return [(rf"/mysql_query/{FLAG}", UsersHandler, {"context": context})]


def operations(offer: Offer) -> list[Operation]:
    """What they answer."""
    return [users_operation("", "the users with a flag, queried by a worker", offer.demo, open=False)]


def users_operation(prefix: str, summary: str, demo: bool, open: bool) -> Operation:
    """The query of users, by one of the ways there are.

    Args:
        prefix: of the path.
        summary: what the way is.
        demo: whether the database may be made to sleep.
        open: as that of Operation.
    """
    delay = Parameter(
        "delay", {"type": "number", "minimum": 0, "maximum": MAX_DELAY}, "seconds that the database sleeps in the query"
    )
    return Operation(
        id=f"users{prefix.replace('/', '_')}",
        method="GET",
        path=f"{prefix}/mysql_query/{{flag}}",
        group="users",
        summary=summary,
        parameters=[
            path("flag", {"type": "integer", "minimum": 0, "maximum": MAX_FLAG}, "which users"),
            *([delay] if demo else []),
            PREFER,
        ],
        answers=[json("their rows", members({"flag": {"type": "integer"}, "rows": ROWS}))],
        problems=(400, 404, *TASK),
        open=open,
        scope="" if open else "queries:mysql_query",
        timed=not open,
    )
