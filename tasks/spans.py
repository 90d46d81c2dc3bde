"""The spans of a worker: of its tasks, its queries, and the statements of its jobs."""

from typing import Any

from celery import signals
from celery.concurrency.prefork import TaskPool as ProcessPool
from sqlalchemy import Engine, event

from nowait import tracing
from nowait.tracing import Span

_SERVICE = "nowait-worker"
_SPAN = "nowait_span"  # the attribute of a request, or an execution, that has its span


def begin(worker: Any) -> None:
    """Make spans of the tasks of a worker from now on; its pool is not there yet."""
    signals.task_prerun.connect(_task_begins, weak=False)
    signals.task_postrun.connect(_task_ends, weak=False)
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


def _process_begins(**_: Any) -> None:
    tracing.start(_SERVICE)


def _process_ends(**_: Any) -> None:
    tracing.stop()


def _task_begins(task: Any, task_id: str, **_: Any) -> None:
    request = vars(task.request)
    attributes = {"messaging.system": "rabbitmq", "messaging.operation.type": "process"}
    if queue := (task.request.delivery_info or {}).get("routing_key"):
        attributes["messaging.destination.name"] = queue
    request[_SPAN] = tracing.span(task.name, "consumer", {**attributes, "messaging.message.id": task_id}, request)
    request[_SPAN].__enter__()


def _task_ends(task: Any, retval: Any, state: str, **_: Any) -> None:
    span: Span | None = vars(task.request).pop(_SPAN, None)
    if span is None:
        return
    if state == "FAILURE":
        span.fail(type(retval).__name__)
    span.__exit__(None, None, None)


def _statement_begins(
    connection: Any, cursor: Any, statement: str, parameters: Any, execution: Any, executemany: bool
) -> None:
    if tracing.current().trace_id:
        verb = statement.split(None, 1)[0].upper()
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
