"""Durable jobs: answered at once, done later."""

from typing import Any

from tornado.web import HTTPError

from nowait.jobs.ids import new_id
from nowait.jobs.table import State
from server.http.access import Access, action_in
from server.http.body import read_json
from server.http.context import Context
from server.http.events import EventsHandler
from server.http.handler import write_json
from server.http.jobs import JobHandler, ended, no_such_job
from server.http.pages import Page
from server.jobs import document, schemas
from server.jobs.model import Job
from server.jobs.request import BadRequest, JobRequest, parse_key
from server.openapi.offer import Offer
from server.openapi.operation import Answer, Operation, Parameter, events, header, json, path
from server.openapi.shared import IDEMPOTENCY_KEY, LIST, PAGE, PREFER_NEWS, RETRY_AFTER, STORE, TEXT, page
from server.parameters import BadParameter

_ID = "([0-9a-f-]{36})"


class JobsHandler(JobHandler):
    """POST /jobs, and GET /jobs?state=&name=&schedule=&limit=&cursor=; administrators also have `owner`"""

    access = Access("jobs")

    async def post(self) -> None:
        try:
            key = parse_key(self.request.headers.get_list("Idempotency-Key"))
            request = JobRequest.of_body(read_json(self.request), self.context.check_webhook)
            self.require(request.name)
            new = request.job(await self.kind(request.name), new_id(), self.owner, key)
        except (BadRequest, BadParameter) as error:
            raise HTTPError(400, str(error)) from error
        await self.finish_added(new)

    async def get(self) -> None:
        owner = self.client.sees
        filters = ("state", "name", "schedule") + (("owner",) if owner is None else ())
        page = Page.of_request(self, filters, _ID)
        self.require(page.filters.get("name"))
        state = _state(page.filters.get("state"))
        # One more shows whether there are any behind them.
        found = await self.ask(
            lambda timeout: self.context.jobs.list(
                page.filters.get("owner", owner),
                timeout,
                limit=page.limit + 1,
                before=page.behind,
                state=state,
                name=page.filters.get("name"),
                schedule=page.filters.get("schedule"),
            )
        )
        listed, cursor = page.cut(self, found, lambda job: job.id)
        write_json(self, {"jobs": [document.summary(job, self.once(job)) for job in listed], "next": cursor})


class OneJobHandler(JobHandler):
    """GET and DELETE /jobs/{id}"""

    access = Access("jobs")

    async def get(self, job_id: str) -> None:
        job = await self.find(job_id)
        # A client that has this version waits for the next; any other for the end.
        enough = self._is_news if "If-None-Match" in self.request.headers else ended
        with self.watching(job_id) as watch:
            job = await self.hold(job, watch, enough)
        self.set_applied(watch)
        if self._is_known(job):
            self.set_status(304)
            self.finish()
            return
        await self.finish_job(job, held=True)

    async def delete(self, job_id: str) -> None:
        await self.check_named(job_id)
        job = await self.ask(lambda timeout: self.context.jobs.cancel(job_id, self.client.sees, timeout))
        if job is None:
            raise no_such_job()
        self.context.watcher.poke(job_id)
        await self.finish_job(job)

    def _is_news(self, job: Job) -> bool:
        return job.state.final or not self._is_known(job)

    def _is_known(self, job: Job) -> bool:
        self.set_header("Etag", document.etag(job))
        return self.check_etag_header()


class RetryHandler(JobHandler):
    """POST /jobs/{id}/retry"""

    access = Access("jobs")

    async def post(self, job_id: str) -> None:
        await self.check_named(job_id)
        job = await self.ask(lambda timeout: self.context.jobs.retry(job_id, self.client.sees, timeout))
        if job is None:
            raise no_such_job()
        self.context.watcher.poke(job_id)
        if job.state is State.QUEUED:
            # Again, for a request that comes again: a second message does no harm.
            self.send(job, None)
        await self.finish_accepted(job)


class WebhookHandler(JobHandler):
    """POST /jobs/{id}/webhook"""

    access = Access("jobs")

    async def post(self, job_id: str) -> None:
        await self.check_named(job_id)
        job = await self.ask(lambda timeout: self.context.jobs.redeliver(job_id, self.client.sees, timeout))
        if job is None:
            raise no_such_job()
        if job.webhook is None:
            raise HTTPError(404, "The job has no webhook.")
        await self.finish_accepted(job)


class JobEventsHandler(EventsHandler):
    """GET /jobs/{id}/events"""

    access = Access("jobs")

    async def get(self, job_id: str) -> None:
        await self.stream_events(job_id)


def _state(text: str | None) -> State | None:
    try:
        return None if text is None else State(text)
    except ValueError as error:
        raise HTTPError(400, f"state: one of {', '.join(state.value for state in State)} is expected.") from error


def routes(context: Context) -> list[Any]:
    """The routes of this module."""
    options = {"context": context}
    return [
        (r"/jobs", JobsHandler, options),
        (rf"/jobs/{_ID}", OneJobHandler, options),
        (rf"/jobs/{_ID}/events", JobEventsHandler, options),
        (rf"/jobs/{_ID}/retry", RetryHandler, options),
        (rf"/jobs/{_ID}/webhook", WebhookHandler, options),
    ]


def operations(offer: Offer) -> list[Operation]:
    """What they answer."""

    def operation(name: str, method: str, at: str, summary: str, **options: Any) -> Operation:
        scope = f"jobs.{action_in('jobs', method)}:NAME"
        return Operation(
            id=name, method=method, path=f"/jobs{at}", group="jobs", summary=summary, scope=scope, **options
        )

    job_id = path("id", schemas.ID, "of a job")
    etag = header("If-None-Match", TEXT, "the ETag of a version that is known; with `Prefer`, the next is waited for")
    last = header("Last-Event-ID", TEXT, "of the last event that is known")
    owner = [Parameter("owner", TEXT, "whose; for administrators")] if offer.keys and offer.admin else []
    one = json("the job", schemas.JOB, headers={"ETag": "its version", **RETRY_AFTER})
    return [
        operation(
            "add_job", "POST", "", "a job, which is run later",
            parameters=[IDEMPOTENCY_KEY, PREFER_NEWS],
            body=schemas.new_job(offer.kinds, offer.webhooks),
            answers=schemas.ADDED,
            problems=(400, 404, 409, 422, 429, *LIST, *STORE),
        ),
        operation(
            "jobs", "GET", "", "the jobs, newest first, without their results",
            parameters=[
                Parameter("state", schemas.STATE), Parameter("name", TEXT), Parameter("schedule", TEXT), *owner, *PAGE
            ],
            answers=[page("jobs", schemas.SUMMARY)],
            problems=(400, *STORE),
        ),
        operation(
            "job", "GET", "/{id}", "a job and its result",
            parameters=[job_id, PREFER_NEWS, etag],
            answers=[one, Answer("there is no other version", headers={"ETag": "its version"}, status=304)],
            problems=(404, *STORE),
        ),
        operation(
            "cancel_job", "DELETE", "/{id}", "the job, cancelled",
            parameters=[job_id],
            answers=[json("the job", schemas.JOB, headers=RETRY_AFTER)],
            problems=(404, 409, *STORE),
        ),
        operation(
            "retry_job", "POST", "/{id}/retry", "a job that has failed, to be tried again",
            parameters=[job_id],
            answers=[schemas.ACCEPTED],
            problems=(404, 409, *STORE),
        ),
        operation(
            "send_webhook", "POST", "/{id}/webhook", "a job whose webhook is sent now",
            parameters=[job_id],
            answers=[schemas.ACCEPTED],
            problems=(404, 409, *STORE),
        ),
        operation(
            "job_events", "GET", "/{id}/events", "its progress and end as server-sent events",
            parameters=[job_id, last],
            answers=[
                events("each version that is seen", ("progress", "done"), schemas.JOB),
                Answer("all is known", status=204),
            ],
            problems=(404, *STORE),
        ),
    ]
