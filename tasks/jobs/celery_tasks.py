"""Celery's tasks as jobs: run by their function, in no transaction, at least once."""

import inspect
import logging
from functools import lru_cache
from typing import Any

from celery import Celery

from nowait.jobs.retry import Retry
from tasks.jobs.job import Job
from tasks.jobs.registry import QUEUE, TIME_LIMIT, Definition
from tasks.parameters import Parameters

log = logging.getLogger(__name__)


def find(app: Celery, name: str) -> Definition | None:
    """The job that is the task of that name; None when there is no such task, or it is no job."""
    task = app.tasks.get(name)
    return None if task is None or not isinstance(getattr(task, "job", None), dict) else _definition(task)


def definitions(app: Celery) -> list[Definition]:
    """The jobs that are tasks: those that were defined with `job={"parameters": {…}, "retry": {…}}`."""
    return [found for name in sorted(app.tasks) if (found := find(app, name)) is not None]


@lru_cache(maxsize=None)
def _definition(task: Any) -> Definition | None:
    def run(job: Job, given: Any) -> Any:
        return task(**parameters.check(given))

    options: dict[str, Any] = dict(task.job)
    try:
        parameters = Parameters.of(task.name, options.pop("parameters", {}))
        retry = Retry.parse(options.pop("retry", {}))
        queue, time_limit = options.pop("queue", QUEUE), options.pop("time_limit", TIME_LIMIT)
        if options:
            raise ValueError(f"{', '.join(options)}: unknown")
        description = inspect.getdoc(task.run) or ""
        return Definition(task.name, description, parameters, run, retry, queue, time_limit, once=False)
    except (TypeError, ValueError) as error:
        log.error("task %s is no job: %s", task.name, error)
        return None
