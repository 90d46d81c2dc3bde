"""The lines that workers and schedulers log, as JSON."""

from collections.abc import Mapping
from logging import Logger
from typing import Any

from celery import current_task
from celery.signals import after_setup_logger, after_setup_task_logger

from nowait.logs import JsonFormatter


def use_json() -> None:
    """Have each line be a JSON object. Celery opens the log and sets its level, as its options have it."""
    for signal in (after_setup_logger, after_setup_task_logger):
        signal.connect(_format, weak=False)


def _format(logger: Logger, **_: Any) -> None:
    for handler in logger.handlers:
        handler.setFormatter(JsonFormatter(_task))


def _task() -> Mapping[str, str]:
    """The task that this thread runs."""
    task: Any = current_task
    return {"task": task.name, "task_id": task.request.id or ""} if task else {}
