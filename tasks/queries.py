"""The query tasks."""

import time
from typing import Any

from nowait.deadline import Deadline
from nowait.errors import OutcomeUnknown
from nowait.messages.encoded import Encoded
from tasks.app import app, catalogue, settings
from tasks.database import make_engine
from tasks.statements import ConnectionLost, fetch

# Seconds behind the deadline: whoever waits has given up by then, and knows why. A database that is silent is
# waited for 0.1 s more.
_DEADLINE_GRACE = 0.15

engine = make_engine(settings.database_url)


class UnknownQuery(LookupError):
    """There is no query of that name on this worker."""


# Acknowledged when they are done: the tasks of a worker that is lost go to another one at once.
@app.task(name="task.run_query", bind=True, acks_late=True)
def run_query(self: Any, name: str, parameters: dict[str, Any] | None = None) -> Encoded:
    """The rows of a named query.

    Args:
        name: one of those that list_queries() names.
        parameters: its parameters by name; those with a default may be left out; None for none.

    Returns:
        An array with an object for each row, column name to value (see `nowait.rows`); empty when there is none.

    Raises:
        UnknownQuery: there is no such query.
        BadParameters: a parameter is missing, unknown, or outside its type or limits.
        OutOfTime: the deadline has passed.
        TooLarge: there are more rows, or bytes, than the query may give.
        OutcomeUnknown: a worker, or the connection to the database, was lost with it, and it is not repeatable.
        QueryFailed: the database refused.
    """
    return _run(self.request, name, parameters)


@app.task(name="task.list_queries", acks_late=True)
def list_queries() -> list[dict[str, Any]]:
    """What may be known of each named query: name, description, parameters, queue, limits; no SQL."""
    return [query.document() for query in catalogue.values()]


@app.task(name="task.query_users", bind=True, acks_late=True)
def query_users(self: Any, flag: int, delay: float = 0) -> Encoded:
    """The users with `flag` (0 to 2147483647), ordered by id: the named query `users`.

    Args:
        flag: an integer; any other type is refused, as the message is not to be trusted.
        delay: seconds, 0 to 60, that the database sleeps inside the query.

    Returns and raises as run_query().
    """
    return _run(self.request, "users", {"flag": flag, "delay": delay})


def _run(request: Any, name: Any, parameters: Any) -> Encoded:
    query = catalogue.get(name) if isinstance(name, str) else None
    if query is None:
        raise UnknownQuery(str(name)[:100])
    bound = query.bind({} if parameters is None else parameters)
    if not query.repeatable and (request.delivery_info or {}).get("redelivered"):
        raise OutcomeUnknown("another worker was lost with the query, which must not run twice")
    deadline = time.monotonic() + query.time_limit
    if (expiry := Deadline.of_expires(request.expires)) is not None:
        deadline = min(deadline, expiry.at + _DEADLINE_GRACE)
    try:
        rows = fetch(
            engine, query.statement, bound, deadline=deadline, repeatable=query.repeatable, row_limit=query.row_limit
        )
    except ConnectionLost as error:
        if query.repeatable:
            raise
        raise OutcomeUnknown("the connection was lost with the query, which must not run twice") from error
    return Encoded(rows)
