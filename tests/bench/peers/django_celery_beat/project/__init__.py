"""A Django project whose schedules are edited over HTTP and followed by django-celery-beat."""

import pymysql

pymysql.install_as_MySQLdb()

from .celery import app as celery_app  # noqa: E402

__all__ = ["celery_app"]
