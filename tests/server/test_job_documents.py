"""A job as clients see it."""

import json
from dataclasses import replace
from datetime import datetime

from nowait.jobs.retry import Retry
from nowait.jobs.table import Delivery, State
from server.jobs import document
from server.jobs.model import Job, Webhook

JOB = Job(
    id="0193", owner="", name="slow_count", queue="queries.jobs", parameters={"note": "Zoë \ud800"}, retry=Retry(),
    state=State.QUEUED, attempt=1, failures=1, version=7, progress={"step": 1}, result=None, error=None,
    created=datetime(2026, 11, 25, 6), eta=datetime(2026, 11, 25, 6, 0, 1, 5), expires=None,
    started=datetime(2026, 11, 25, 6), finished=None,
)  # fmt: skip


def test_the_document_is_that_of_the_contract() -> None:
    assert json.loads(b"".join(document.parts(JOB, True))) == {
        "id": "0193",
        "name": "slow_count",
        "parameters": {"note": "Zoë \ud800"},
        "state": "queued",
        "attempt": 1,
        "progress": {"step": 1},
        "result": None,
        "error": None,
        "worker": None,
        "history": [],
        "created": "2026-11-25T06:00:00.000000Z",
        "next": "2026-11-25T06:00:01.000005Z",
        "started": "2026-11-25T06:00:00.000000Z",
        "finished": None,
        "expires": None,
        "once": True,
        "schedule": None,
        "tick": None,
        "webhook": None,
        "urls": {"self": "/jobs/0193", "events": "/jobs/0193/events"},
    }


def test_a_job_of_a_schedule_has_its_name_and_its_tick() -> None:
    summary = document.summary(replace(JOB, schedule="hourly", tick=datetime(2026, 11, 25, 6)), True)
    assert (summary["schedule"], summary["tick"]) == ("hourly", "2026-11-25T06:00:00.000000Z")


def test_a_result_is_passed_on_as_it_is_on_one_line() -> None:
    job = replace(JOB, state=State.SUCCEEDED, result='{"a":\r\n 1.50, "b": "\\n"}')
    text = b"".join(document.parts(job, None))
    assert b'"result":{"a":   1.50, "b": "\\n"},"error":null' in text and b"\n" not in text
    assert json.loads(text)["once"] is None


def test_only_what_waits_has_a_next_attempt() -> None:
    assert document.summary(replace(JOB, state=State.RUNNING), None)["next"] is None


def test_a_summary_is_the_document_without_result_and_history() -> None:
    whole = json.loads(b"".join(document.parts(JOB, False)))
    del whole["result"], whole["history"]
    assert document.summary(JOB, False) == whole


def test_the_worker_is_that_of_the_attempt_that_runs() -> None:
    running = replace(JOB, state=State.RUNNING, worker="w@host")
    assert document.summary(running, None)["worker"] == "w@host"
    assert document.summary(replace(running, state=State.QUEUED), None)["worker"] is None


def test_the_webhook_is_there_with_what_has_become_of_it() -> None:
    webhook = Webhook("https://a.example/", Delivery.PENDING, 2, datetime(2026, 11, 25, 7), "http-500")
    assert document.summary(replace(JOB, webhook=webhook), None)["webhook"] == {
        "url": "https://a.example/",
        "state": "pending",
        "attempts": 2,
        "next": "2026-11-25T07:00:00.000000Z",
        "outcome": "http-500",
    }


def test_the_version_is_a_weak_validator() -> None:
    assert document.etag(JOB) == 'W/"7"'
