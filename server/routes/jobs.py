"""Durable jobs: answered at once, done later."""

import base64
import binascii
import re
from typing import Any
from urllib.parse import urlencode

from tornado.web import HTTPError

from nowait.jobs.table import State
from server.http.body import read_json
from server.http.context import Context
from server.http.events import EventsHandler
from server.http.handler import write_json
from server.http.jobs import JobHandler, no_such_job
from server.jobs import document
from server.jobs.ids import new_id
from server.jobs.model import Job
from server.jobs.request import BadRequest, JobRequest, parse_key
from server.parameters import BadParameter

_ID = "([0-9a-f-]{36})"
_FILTERS = ("state", "name", "limit", "cursor")
_LIMIT = 20
_MAX_LIMIT = 100


class JobsHandler(JobHandler):
    """POST /jobs, and GET /jobs?state=&name=&limit=&cursor="""

    async def post(self) -> None:
        try:
            key = parse_key(self.request.headers.get_list("Idempotency-Key"))
            request = JobRequest.of_body(read_json(self.request), self.context.check_webhook)
            new = request.job(await self.kind(request.name), new_id(), self.owner, key)
        except (BadRequest, BadParameter) as error:
            raise HTTPError(400, str(error)) from error
        job, replayed = await self.ask(lambda timeout: self.context.jobs.add(new, timeout))
        with self.watching(job.id) as watch:
            if not replayed:
                self.send(job, None if watch is None else self.wait)
            job = await self.hold(job, watch, _ended)
        if replayed:
            self.set_header("Idempotent-Replayed", "true")
        if not job.state.final:
            await self.finish_accepted(job, watch)
            return
        self.set_header("Content-Location", document.path(job.id))
        self.set_applied(watch)
        await self.finish_job(job)

    async def get(self) -> None:
        given = self._filters()
        limit = _limit(given.get("limit"))
        state = _state(given.get("state"))
        before = None if "cursor" not in given else _id_of(given["cursor"])
        # One more shows whether there are any behind them.
        found = await self.ask(
            lambda timeout: self.context.jobs.list(
                self.owner, timeout, limit=limit + 1, before=before, state=state, name=given.get("name")
            )
        )
        listed, cursor = found[:limit], None
        if len(found) > limit:
            cursor = _cursor(listed[-1].id)
            self.set_header("Link", f'</jobs?{urlencode({**given, "cursor": cursor})}>; rel="next"')
        write_json(self, {"jobs": [document.summary(job, self.once(job)) for job in listed], "next": cursor})

    def _filters(self) -> dict[str, str]:
        """The query's parameters. Raises HTTPError 400."""
        given = {}
        for name in self.request.query_arguments:
            values = self.get_query_arguments(name, strip=False)
            if name not in _FILTERS:
                raise HTTPError(400, "%s: there is no such parameter; there is %s.", name[:100], ", ".join(_FILTERS))
            if len(values) != 1:
                raise HTTPError(400, "%s: one value is expected.", name)
            given[name] = values[0]
        return given


class OneJobHandler(JobHandler):
    """GET and DELETE /jobs/{id}"""

    async def get(self, job_id: str) -> None:
        job = await self.find(job_id)
        # A client that has this version waits for the next; any other for the end.
        enough = self._is_news if "If-None-Match" in self.request.headers else _ended
        with self.watching(job_id) as watch:
            job = await self.hold(job, watch, enough)
        self.set_applied(watch)
        if self._is_known(job):
            self.set_status(304)
            self.finish()
            return
        await self.finish_job(job)

    async def delete(self, job_id: str) -> None:
        job = await self.ask(lambda timeout: self.context.jobs.cancel(job_id, self.owner, timeout))
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

    async def post(self, job_id: str) -> None:
        job = await self.ask(lambda timeout: self.context.jobs.retry(job_id, self.owner, timeout))
        if job is None:
            raise no_such_job()
        self.context.watcher.poke(job_id)
        if job.state is State.QUEUED:
            # Again, for a request that comes again: a second message does no harm.
            self.send(job, None)
        await self.finish_accepted(job)


class WebhookHandler(JobHandler):
    """POST /jobs/{id}/webhook"""

    async def post(self, job_id: str) -> None:
        job = await self.ask(lambda timeout: self.context.jobs.redeliver(job_id, self.owner, timeout))
        if job is None:
            raise no_such_job()
        if job.webhook is None:
            raise HTTPError(404, "The job has no webhook.")
        await self.finish_accepted(job)


class JobEventsHandler(EventsHandler):
    """GET /jobs/{id}/events"""

    async def get(self, job_id: str) -> None:
        await self.stream_events(job_id)


def _ended(job: Job) -> bool:
    return job.state.final


def _limit(text: str | None) -> int:
    if text is None:
        return _LIMIT
    if not re.fullmatch("[1-9][0-9]{0,2}", text) or int(text) > _MAX_LIMIT:
        raise HTTPError(400, f"limit: an integer from 1 to {_MAX_LIMIT} is expected.")
    return int(text)


def _state(text: str | None) -> State | None:
    try:
        return None if text is None else State(text)
    except ValueError as error:
        raise HTTPError(400, f"state: one of {', '.join(state.value for state in State)} is expected.") from error


def _cursor(job_id: str) -> str:
    return base64.urlsafe_b64encode(job_id.encode()).decode().rstrip("=")


def _id_of(cursor: str) -> str:
    """The id that a cursor was made of. Raises HTTPError 400."""
    try:
        job_id = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars="-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        job_id = ""
    if not re.fullmatch(_ID, job_id):
        raise HTTPError(400, "cursor: one that was in `next` is expected.")
    return job_id


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
