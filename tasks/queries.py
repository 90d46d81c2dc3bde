"""The query tasks."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from celery.signals import celeryd_after_setup

from nowait.deadline import Deadline
from nowait.errors import OutcomeUnknown
from nowait.messages.encoded import Encoded
from nowait.rows import encode_csv, encode_lines
from nowait.worker import ReaderLeft, Streaming
from tasks.app import app, catalogue, settings
from tasks.catalogue import Query
from tasks.checks import Checks
from tasks.database import make_engine
from tasks.reading import Reading
from tasks.result import Columns
from tasks.spans import query_span
from tasks.statements import ConnectionLost, QueryFailed, fetch

# Seconds behind the deadline: whoever waits has given up by then, and knows why. A database that is silent is
# waited for 0.1 s more.
_DEADLINE_GRACE = 0.15

engine = make_engine(settings.database_url)
checks = Checks(engine, catalogue)
streaming = Streaming(app)


class UnknownQuery(LookupError):
    """There is no query of that name on this worker."""


class QueryBroken(Exception):
    """The database refused a query that it would not prepare either."""


@celeryd_after_setup.connect
def _check(**_: Any) -> None:
    """Log at the start of a worker which queries cannot work; the worker starts in any case."""
    checks.run()


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
        ResultTooLarge: there are more rows, or bytes, than the query may give.
        OutcomeUnknown: a worker, or the connection to the database, was lost with it, and it is not repeatable.
        ConnectionLost: the connection was lost again when a repeatable query had been begun again.
        QueryBroken: the database refused, as was to be expected: the query is listed as broken.
        QueryFailed: the database refused.
    """
    return _run(self.request, name, parameters)


# Acknowledged as it begins: it may take longer than a broker waits for that, and half a stream is no use to another
# worker.
@app.task(name="task.stream_query", bind=True, acks_late=False, throws=(ReaderLeft,))
def stream_query(self: Any, name: str, parameters: dict[str, Any] | None = None, form: str = "ndjson") -> Any:
    """The rows of a named query, in parts, while the database gives them; see `nowait.worker.Streaming`.

    Args:
        name, parameters: as for run_query().
        form: "ndjson" for lines of JSON, "csv" for CSV with a header line; see `nowait.rows`.

    Raises what run_query() does, and ReaderLeft when nobody reads the stream any more. The statement ends then, too.
    """
    query, bound = _find(self.request, name, parameters)
    reading = Reading(engine, query.statement, bound)
    with streaming.open(self.request, reading.kill) as stream:
        header = form == "csv"

        def take(names: Sequence[str], columns: Columns) -> None:
            nonlocal header
            if form == "csv":
                stream.write((encode_csv([names]) if header else b"") + encode_csv(zip(*columns)))
                header = False
            elif columns:
                stream.write(encode_lines(names, columns))

        deadline = _deadline(self.request, query.stream_time_limit)
        with _running(query):
            reading.run(take, deadline=deadline, repeatable=query.repeatable, row_limit=query.stream_row_limit)
        return stream.end()


@app.task(name="task.list_queries", acks_late=True)
def list_queries() -> list[dict[str, Any]]:
    """What may be known of each named query: name, description, parameters, queue, row, is it broken; no SQL."""
    checks.renew()
    return [
        {**query.document(), "broken": checks.is_broken(name), "row": checks.row(name)}
        for name, query in catalogue.items()
    ]


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
    query, bound = _find(request, name, parameters)
    deadline = _deadline(request, query.time_limit)
    with _running(query):
        rows = fetch(
            engine, query.statement, bound, deadline=deadline, repeatable=query.repeatable, row_limit=query.row_limit
        )
    return Encoded(rows)


def _find(request: Any, name: Any, parameters: Any) -> tuple[Query, dict[str, Any]]:
    """The query of a call, and its parameters with defaults. Raises as run_query()."""
    query = catalogue.get(name) if isinstance(name, str) else None
    if query is None:
        raise UnknownQuery(str(name)[:100])
    bound = query.bind({} if parameters is None else parameters)
    if not query.repeatable and (request.delivery_info or {}).get("redelivered"):
        raise OutcomeUnknown("another worker was lost with the query, which must not run twice")
    return query, bound


def _deadline(request: Any, time_limit: float) -> float:
    """When the database is to give up, by time.monotonic()."""
    expiry = Deadline.of_expires(request.expires)
    limit = time.monotonic() + time_limit
    return limit if expiry is None else min(limit, expiry.at + _DEADLINE_GRACE)


@contextmanager
def _running(query: Query) -> Iterator[None]:
    """Runs a query in its block. A lost connection is OutcomeUnknown for one that must not run twice."""
    try:
        with query_span(query.name, engine.dialect.name):
            yield
    except ConnectionLost as error:
        if query.repeatable:
            raise
        raise OutcomeUnknown("the connection was lost with the query, which must not run twice") from error
    except QueryFailed as error:
        if checks.is_broken(query.name):
            raise QueryBroken(str(error)) from error
        raise
    checks.succeeded(query.name)
