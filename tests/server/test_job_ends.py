"""The routes about what a job has come to: its webhook, its attempts, and another try."""

import json
from typing import Any

import pytest

from nowait.jobs.table import Delivery
from server.jobs.model import Store
from tests.server.conftest import Serve
from tests.server.fake_jobs import FakePublisher
from tests.server.jobs_site import COUNT, WEBHOOKS, Site, Worker, problem

pytestmark = pytest.mark.gen_test
URL = "https://hooks.example/jobs"
FAILED = {"type": "urn:problem-type:nowait:task-failed", "title": "Job failed", "detail": "See the log."}


async def document(site: Site, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await site.fetch(f"/jobs/{job_id}")).body)
    return found


async def post(site: Site, path: str) -> Any:
    return await site.fetch(path, method="POST", body=b"")


async def test_a_webhook_is_kept_with_its_job(serve: Serve) -> None:
    async with serve(**WEBHOOKS) as site:
        response = await site.post({**COUNT, "webhook": URL})
        found = json.loads(response.body)
        assert response.code == 202
        expected = {"url": URL, "state": "pending", "attempts": 0, "next": None, "outcome": None}
        assert found["webhook"] == expected
        assert await document(site, found["id"]) == found
        (listed,) = json.loads((await site.fetch("/jobs")).body)["jobs"]
        assert listed["webhook"] == expected


async def test_a_url_of_another_form_is_refused_and_any_where_none_is_configured(serve: Serve) -> None:
    async with serve(**WEBHOOKS) as site:
        for url in ("http://hooks.example/", "https://127.0.0.1/", "https://u:p@hooks.example/", 5):
            found = problem(await site.post({**COUNT, "webhook": url}), 400)
            assert found["detail"].startswith("webhook: a ")
    async with serve() as site:
        found = problem(await site.post({**COUNT, "webhook": URL}), 400)
        assert found["detail"] == "webhook: none is configured."


async def test_the_same_key_with_another_webhook_is_another_request(serve: Serve) -> None:
    async with serve(**WEBHOOKS) as site:
        await site.posted({**COUNT, "webhook": URL}, Idempotency_Key="k")
        problem(await site.post({**COUNT, "webhook": URL + "2"}, Idempotency_Key="k"), 422, "idempotency-key-reused")


async def test_attempts_that_have_failed_are_the_jobs_history(serve: Serve, worker: Worker) -> None:
    async with serve() as site:
        job_id = await site.posted()
        await worker.claim(job_id)
        assert (await document(site, job_id))["worker"] == "tests"
        await worker.retry(job_id, 0.0)
        waiting = await document(site, job_id)
        assert waiting["worker"] is None
        await worker.claim(job_id)
        await worker.fail(job_id, FAILED)
        found = await document(site, job_id)
        (listed,) = json.loads((await site.fetch("/jobs?state=failed")).body)["jobs"]
    assert "history" not in listed
    first, second = found["history"]
    assert waiting["history"] == [first]
    assert first.keys() == {"attempt", "worker", "started", "ended", "reason"}
    assert (first["attempt"], first["worker"], first["reason"]) == (1, "tests", "task-failed")
    assert (second["attempt"], second["started"]) == (2, found["started"]) and second["ended"] <= found["finished"]
    assert found["created"] < first["started"] < first["ended"] < second["started"]


async def test_a_failed_job_is_tried_again_once_however_often_that_is_wanted(
    serve: Serve, worker: Worker, publisher: FakePublisher
) -> None:
    async with serve() as site:
        job_id = await site.posted({**COUNT, "expires": 3600})
        await worker.claim(job_id)
        await worker.fail(job_id, FAILED)
        publisher.sent.clear()
        for _ in range(2):
            response = await post(site, f"/jobs/{job_id}/retry")
            assert response.code == 202 and response.headers["Location"] == f"/jobs/{job_id}"
            found = json.loads(response.body)
            assert (found["state"], found["attempt"], found["error"], found["finished"]) == ("queued", 1, None, None)
            assert (found["expires"], found["next"], len(found["history"])) == (None, None, 1)
        assert publisher.sent == [(job_id, None)] * 2
        await worker.claim(job_id)
        assert json.loads((await post(site, f"/jobs/{job_id}/retry")).body)["state"] == "running"
        await worker.succeed(job_id, "3")
        assert (await document(site, job_id))["attempt"] == 2
        found = problem(await post(site, f"/jobs/{job_id}/retry"), 409, "job-ended")
        assert found["detail"] == "The job has ended: it is succeeded."


async def test_a_job_that_was_cancelled_is_not_tried_again(serve: Serve) -> None:
    async with serve() as site:
        job_id = await site.posted()
        await site.fetch(f"/jobs/{job_id}", method="DELETE")
        problem(await post(site, f"/jobs/{job_id}/retry"), 409, "job-ended")
        problem(await post(site, f"/jobs/{'0' * 36}/retry"), 404)


async def test_a_webhook_is_sent_again(serve: Serve, store: Store) -> None:
    async with serve(**WEBHOOKS) as site:
        job_id = await site.posted({**COUNT, "webhook": URL})
        problem(await post(site, f"/jobs/{job_id}/webhook"), 409, "job-not-ended")
        await site.fetch(f"/jobs/{job_id}", method="DELETE")
        response = await post(site, f"/jobs/{job_id}/webhook")
        found = json.loads(response.body)
        assert response.code == 202 and response.headers["Location"] == f"/jobs/{job_id}"
        assert found["webhook"]["state"] == "pending" and found["webhook"]["next"] >= found["finished"]
        job = await store.get(job_id, "", 2.0)
        assert job is not None and job.webhook is not None and job.webhook.state is Delivery.PENDING
        without = await site.posted()
        assert problem(await post(site, f"/jobs/{without}/webhook"), 404)["detail"] == "The job has no webhook."
        problem(await post(site, f"/jobs/{'0' * 36}/webhook"), 404)
