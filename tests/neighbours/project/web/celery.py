"""Celery as Django's projects have it."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "web.settings")
app = Celery("web")
app.config_from_object("django.conf:settings", namespace="CELERY")
