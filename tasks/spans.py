"""The spans of a worker: of its tasks, its queries, and the statements of its jobs."""

import re
from typing import Any

from celery import signals
from celery.concurrency.prefork import TaskPool as ProcessPool
from celery.exceptions import Ignore, Reject, Retry
from sqlalchemy import Engine, event

from nowait import tracing
from nowait.tracing import Span
from tasks.metrics.task import MeasuredTask

_WORD = re.compile(r"\s*([A-Za-z]{1,16})\b")  # the first one of a statement
_SERVICE = "nowait-worker"
_SPAN = "nowait_span"  # the attribute of an execution that has its span
_NO_FAILURES = (Ignore, Reject, Retry)  # by which a task has Celery do something


class TracedTask(MeasuredTask):
    """The base of all tasks of an application whose workers make traces. By Celery's signals, each would cost twice."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Called by the worker for each run, and by whoever calls a function."""
        request: Any = self.request
        if request.called_directly:
            return super().__call__(*args, **kwargs)
        if getattr(request, "traceparent", None) is None:
            return self.run(*args, **kwargs)
        with _task_span(self.name, vars(request)) as span:
            try:
                return self.run(*args, **kwargs)
            except _NO_FAILURES as effect:
                reached = effect
            except Exception as error:
                span.fail(type(error).__name__)
                raise
        raise reached


def begin(worker: Any) -> None:
    """Make spans in a worker from now on; its pool is not there yet."""
    if issubclass(worker.pool_cls, ProcessPool):
        # A fork takes no threads along, and the exporter has one.
        signals.worker_process_init.connect(_process_begins, weak=False)
        signals.worker_process_shutdown.connect(_process_ends, weak=False)
    else:
        _process_begins()
        signals.worker_shutdown.connect(_process_ends, weak=False)


def query_span(name: str, engine: str) -> Span:
    """The span of a named query, in a database of that kind."""
    if not tracing.on():
        return tracing.NO_SPAN
    return tracing.span(name, "client", {"db.system.name": engine, "db.query.summary": name})


def watch(engine: Engine) -> None:
    """Have each statement of the engine be a span, where it is a part of one. It says the first word, and no more."""
    event.listen(engine, "before_cursor_execute", _statement_begins)
    event.listen(engine, "after_cursor_execute", _statement_ends)
    event.listen(engine, "handle_error", _statement_failed)


def operation_of(statement: str) -> str:
    """The first word of a statement; "statement" where it begins otherwise, as with a comment that has values."""
    found = _WORD.match(statement)
    return found[1].upper() if found else "statement"


def _process_begins(**_: Any) -> None:
    tracing.start(_SERVICE)


def _process_ends(**_: Any) -> None:
    tracing.stop()


def _task_span(name: str, request: dict[str, Any]) -> Span:
    """The span of a task, whose request has what has come in its message's headers."""
    delivered = request.get("delivery_info") or {}
    attributes = {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": "process",
        "messaging.destination.name": delivered.get("routing_key") or "",
        "messaging.message.id": request.get("id") or "",
    }
    return tracing.span(name, "consumer", attributes, request)


def _statement_begins(
    connection: Any, cursor: Any, statement: str, parameters: Any, execution: Any, executemany: bool
) -> None:
    if tracing.current().trace_id:
        verb = operation_of(statement)
        attributes = {"db.system.name": connection.dialect.name, "db.operation.name": verb}
        vars(execution)[_SPAN] = tracing.span(verb, "client", attributes)


def _statement_ends(
    connection: Any, cursor: Any, statement: str, parameters: Any, execution: Any, executemany: bool
) -> None:
    if span := vars(execution).pop(_SPAN, None):
        span.end()


def _statement_failed(failure: Any) -> None:
    execution = failure.execution_context
    if execution is not None and (span := vars(execution).pop(_SPAN, None)):
        span.fail(type(failure.original_exception).__name__)
        span.end()
