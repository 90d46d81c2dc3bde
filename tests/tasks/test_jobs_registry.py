"""Jobs by name."""

from datetime import datetime
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Reject

from nowait.jobs.retry import Retry
from tasks.jobs import celery_tasks, steps
from tasks.jobs.job import Job
from tasks.jobs.lease import Lease
from tasks.jobs.registry import Registry
from tasks.jobs.worker import list_jobs, run_job
from tasks.parameters import BadParameters, BadSchema

JOB = Job("id", 1, Lease(0.0, 1.0), lambda: pytest.fail("there is no database"))


def test_a_decorated_function_is_a_job_and_stays_itself() -> None:
    registry = Registry()

    @registry.job("close", parameters={"month": {"type": "string"}}, max_retries=3, backoff=2, queue="queries.slow")
    def close(job: Job, month: str) -> str:
        """Closes a month."""
        return f"{job.id} {month}"

    assert close(JOB, "2026-10") == "id 2026-10"
    (definition,) = registry.definitions()
    assert definition.document() == {
        "name": "close",
        "description": "Closes a month.",
        "parameters": {
            "type": "object",
            "properties": {"month": {"type": "string"}},
            "required": ["month"],
            "additionalProperties": False,
        },
        "queue": "queries.slow",
        "retry": {"max_retries": 3, "backoff": 2, "backoff_max": 600.0},
        "once": True,
    }
    assert registry.find("close") is definition
    assert registry.find("open") is None


def test_a_function_gets_its_parameters_as_the_database_takes_them() -> None:
    registry = Registry()
    moment = {"type": "string", "format": "date-time"}

    @registry.job("since", parameters={"moment": moment, "limit": {"type": "integer", "default": 5}})
    def since(job: Job, moment: datetime, limit: int) -> Any:
        return moment, limit

    definition = registry.definitions()[0]
    assert definition.run(JOB, {"moment": "2026-01-01T01:00:00+01:00"}) == (datetime(2026, 1, 1), 5)
    for given in ({}, {"moment": "today"}, {"moment": "2026-01-01T01:00:00Z", "more": 1}, None):
        with pytest.raises(BadParameters):
            definition.run(JOB, given)


def test_two_jobs_of_one_name_are_refused() -> None:
    registry = Registry()
    registry.job("same")(lambda job: None)
    with pytest.raises(ValueError, match="same"):
        registry.job("same")(lambda job: None)


@pytest.mark.parametrize(
    "schema", [{"type": "array"}, {}, {"type": "integer", "default": "x"}, {"type": "string", "format": "x"}]
)
def test_parameters_that_no_query_may_have_are_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(BadSchema, match="job bad: "):
        Registry().job("bad", parameters={"parameter": schema})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"queue": "q" * 101}, "queue: 1 to 100 characters"),
        ({"queue": ""}, "queue: 1 to 100 characters"),
        ({"name": "n" * 101}, "name: 1 to 100 characters"),
        ({"max_retries": 101}, "job bad: retry.max_retries: an integer from 0 to 100"),
        ({"backoff_max": 700_000}, "job bad: retry.backoff_max: seconds from 0 to 604800"),
    ],
)
def test_what_no_row_could_hold_is_refused_where_it_is_defined(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Registry().job(**{"name": "bad", **options})(lambda job: None)


def test_a_task_of_celerys_is_a_job_where_it_is_defined_as_one() -> None:
    app = Celery("test")

    @app.task(name="mail", shared=False, job={"parameters": {"to": {"type": "string"}}, "retry": {"max_retries": 2}})
    def mail(to: str) -> str:
        """Sends a mail."""
        return f"sent to {to}"

    @app.task(name="other", shared=False)
    def other() -> None: ...

    (definition,) = celery_tasks.definitions(app)
    assert (definition.name, definition.description, definition.once) == ("mail", "Sends a mail.", False)
    assert definition.retry == Retry(max_retries=2)
    assert definition.run(JOB, {"to": "a@b.example"}) == "sent to a@b.example"
    assert celery_tasks.find(app, "other") is None
    with pytest.raises(BadParameters):
        definition.run(JOB, {})


@pytest.mark.parametrize(
    ("job", "says"),
    [
        ({"parameter": {}}, "parameter: unknown"),
        ({"queue": "q" * 101}, "queue: 1 to 100 characters"),
        ({"retry": {"max_retries": 101}}, "retry.max_retries: an integer from 0 to 100"),
    ],
)
def test_a_task_that_is_badly_defined_is_no_job_and_logged(
    job: dict[str, Any], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Celery("test")

    @app.task(name="mail", shared=False, job=job)
    def mail() -> None: ...

    assert celery_tasks.definitions(app) == []
    assert f"task mail is no job: {says}" in caplog.text


def test_the_sample_has_two_jobs() -> None:
    import tasks.sample  # noqa: F401

    # Other tests have defined others.
    documents = {job["name"]: job for job in list_jobs() if job["name"] in ("slow_count", "add_visit")}
    assert len(documents) == 2
    assert documents["slow_count"]["parameters"]["required"] == ["steps"]
    assert all(document["once"] and document["queue"] == "queries.jobs" for document in documents.values())


def test_a_message_whose_job_cannot_be_claimed_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise steps.DatabaseAway("error 2003 of the database")

    monkeypatch.setattr(steps, "claim", away)
    with pytest.raises(Reject) as caught:
        run_job("id", 1)
    assert caught.value.requeue is True


@pytest.mark.parametrize(("job_id", "attempt"), [(None, 1), ({}, 1), ("id", "1"), ("id", True), ("id", None)])
def test_a_message_that_names_no_attempt_is_refused(job_id: Any, attempt: Any) -> None:
    with pytest.raises(TypeError):
        run_job(job_id, attempt)
