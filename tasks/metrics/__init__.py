"""What workers and schedulers do, as metrics of Prometheus, at an address of their own.

This module is loaded by both, as those with tasks are; the others where there is such an address alone.
"""

from typing import Any

from celery.signals import beat_init, celeryd_after_setup

from tasks.app import settings


@celeryd_after_setup.connect
def _worker_begins(instance: Any, **_: Any) -> None:
    """Called before the pool of a worker is there: what it forks has the metrics."""
    if settings.metrics is not None:
        from tasks.metrics.worker import begin

        begin(settings.metrics, instance)


@beat_init.connect
def _scheduler_begins(sender: Any, **_: Any) -> None:
    if settings.metrics is not None:
        from tasks.metrics.scheduler import begin

        begin(settings.metrics, sender.scheduler)
