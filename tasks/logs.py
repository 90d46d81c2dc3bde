"""The lines that workers and schedulers log, as JSON."""

import re
from collections.abc import Mapping
from logging import Logger
from typing import Any

from celery import current_task
from celery.signals import after_setup_logger, after_setup_task_logger

from nowait.logs import JsonFormatter

# https://www.w3.org/TR/trace-context/, of a trace that is exported. What Celery logs of a task is outside of the task's
# own span.
_TRACEPARENT = re.compile("00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f][13579bdf]")


def use_json() -> None:
    """Have each line be a JSON object. Celery opens the log and sets its level, as its options have it."""
    for signal in (after_setup_logger, after_setup_task_logger):
        signal.connect(_format, weak=False)


def _format(logger: Logger, **_: Any) -> None:
    for handler in logger.handlers:
        handler.setFormatter(JsonFormatter(_task))


def _task() -> Mapping[str, str]:
    """The task that this thread runs, and the trace that its message belongs to."""
    task: Any = current_task
    if not task:
        return {}
    request = task.request
    found = _TRACEPARENT.fullmatch(str(getattr(request, "traceparent", "")))
    return {"task": task.name, "task_id": request.id or "", **({"trace_id": found[1]} if found else {})}
