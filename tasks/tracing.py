"""Has a worker make traces, where its settings ask for them.

This module is loaded by workers and schedulers, as those with tasks are.
"""

from typing import Any

from celery.signals import celeryd_after_setup

from tasks import spans
from tasks.app import settings
from tasks.jobs.worker import jobs_engine, steps_engine


@celeryd_after_setup.connect
def _worker_begins(instance: Any, **_: Any) -> None:
    if settings.traces:
        spans.begin(instance)
        spans.watch(jobs_engine)
        spans.watch(steps_engine)
