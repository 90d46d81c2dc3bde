"""The query tasks."""

import math
from typing import Any

from sqlalchemy import JSON, TextualSelect, bindparam, text

from tasks.app import app, settings
from tasks.database import EnginePerProcess, make_engine
from tasks.values import to_json

MAX_FLAG = 2**31 - 1
MAX_DELAY = 60.0  # seconds

engine = EnginePerProcess(lambda: make_engine(settings.database_url))

# The derived table makes the database sleep once, inside the statement, however many rows follow.
_USERS: TextualSelect = (
    text("SELECT users.* FROM (SELECT SLEEP(:delay)) AS pause, users WHERE users.flag = :flag ORDER BY users.id")
    .bindparams(bindparam("flag"), bindparam("delay"))
    .columns(profile=JSON())
)


@app.task(name="task.query_users")
def query_users(flag: int, delay: float = 0) -> list[dict[str, Any]]:
    """The users with `flag` (0 to 2147483647), ordered by id.

    Args:
        flag: an integer; any other type is refused, as the message is not to be trusted.
        delay: seconds, 0 to 60, that the database sleeps inside the query.

    Returns:
        One dict per row, column name to JSON value (see `tasks.values`); [] when there is none.

    Raises:
        ValueError: an argument is outside its type or range.
    """
    if type(flag) is not int or not 0 <= flag <= MAX_FLAG:
        raise ValueError(f"flag: expected an integer from 0 to {MAX_FLAG}")
    if type(delay) not in (int, float) or not math.isfinite(delay) or not 0 <= delay <= MAX_DELAY:
        raise ValueError(f"delay: expected seconds from 0 to {MAX_DELAY:g}")
    with engine().connect() as connection:
        rows = connection.execute(_USERS, {"flag": flag, "delay": delay}).mappings()
        return [{name: to_json(value) for name, value in row.items()} for row in rows]
