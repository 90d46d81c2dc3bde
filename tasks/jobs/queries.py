"""Named queries as jobs, those that write, too."""

from typing import Any

from nowait.errors import ResultTooLarge
from nowait.messages.encoded import Encoded
from nowait.rows import encode_columns
from tasks.catalogue import Query
from tasks.jobs.job import Job
from tasks.jobs.registry import Definition
from tasks.jobs.results import LARGEST
from tasks.spans import query_span
from tasks.statements import begin


def definition_of(query: Query) -> Definition:
    """The job that runs a query: its result are the rows; `{"affected": n}` of a statement that gives none."""

    def run(job: Job, given: Any) -> Any:
        connection: Any = job.connection.connection.driver_connection
        dialect = job.connection.dialect
        with query_span(query.name, dialect.name):
            # Each statement of a job's transaction has a limit, which one of its own would change for others.
            result = begin(connection, dialect, query.statement, query.bind(given), None)
            if not result.names:
                return {"affected": result.affected_rows}
            encoded: list[bytes] = []
            size = 0
            for columns in result.batches():
                job.check()
                encoded.append(encode_columns(result.names, columns)[1:-1])
                size += len(encoded[-1]) + 1
                if size > LARGEST:
                    raise ResultTooLarge(LARGEST)
            return Encoded(b"[%b]" % b",".join(encoded))

    return Definition(
        query.name, query.description, query.parameters, run, query.retry, time_limit=query.job_time_limit
    )
