"""A Django project beside Nowait: it sends tasks to the same workers, and its page shows the events of a topic."""

from .celery import app as celery_app

__all__ = ["celery_app"]
