"""PUT /schedules/NAME makes or edits a schedule, by Django's models."""

import json
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask


def _timing(body: dict[str, Any]) -> tuple[IntervalSchedule | None, CrontabSchedule | None]:
    if body["cron"] is None:
        interval, _ = IntervalSchedule.objects.get_or_create(every=body["every"], period=IntervalSchedule.SECONDS)
        return interval, None
    fields = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
    crontab, _ = CrontabSchedule.objects.get_or_create(**dict(zip(fields, body["cron"].split())), timezone="UTC")
    return None, crontab


def put(request: HttpRequest, name: str) -> HttpResponse:
    body = json.loads(request.body)
    task = PeriodicTask.objects.filter(name=name).first()
    if task is None:
        task = PeriodicTask(name=name, task="nothing", args=json.dumps([name]))
    task.interval, task.crontab = _timing(body)
    task.enabled = body["enabled"]
    task.save()
    return JsonResponse({"name": name})


urlpatterns = [path("schedules/<str:name>", put)]
