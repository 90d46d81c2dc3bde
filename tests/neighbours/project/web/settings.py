"""Django's settings."""

import os

SECRET_KEY = "of nothing that is secret"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "web.urls"
INSTALLED_APPS = ["web"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
USE_TZ = True

# The broker of Nowait's server and workers.
CELERY_BROKER_URL = os.environ["NOWAIT_BROKER_URL"]
CELERY_RESULT_BACKEND = "rpc://"
CELERY_TASK_DEFAULT_QUEUE = "queries"
# Nowait's server, for topics.
SERVER_URL = os.environ.get("SERVER_URL", "http://127.0.0.1:8000")
