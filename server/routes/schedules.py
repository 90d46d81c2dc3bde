"""Schedules: jobs that come again."""

import hashlib
from datetime import datetime, timezone
from typing import Any

from tornado.web import HTTPError

from nowait.jobs.ids import new_id
from nowait.schedules.ticks import BadTicks
from server.http.access import Access, action_in
from server.http.body import read_json
from server.http.context import Context
from server.http.handler import write_json
from server.http.jobs import JobHandler
from server.http.pages import Page
from server.http.schedules import ScheduleHandler, condition, no_such_schedule, precondition_failed
from server.jobs.model import NewJob
from server.jobs.request import BadRequest, parse_key
from server.jobs.schemas import ADDED
from server.openapi.offer import Offer
from server.openapi.operation import Answer, Operation, Parameter, json, path
from server.openapi.shared import IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH, LIST, PAGE, PREFER_NEWS, STORE, page
from server.parameters import BadParameter
from server.schedules import document, schemas
from server.schedules.model import Definition
from server.schedules.request import NAME, ScheduleRequest, check_name


class SchedulesHandler(ScheduleHandler):
    """GET /schedules?limit=&cursor="""

    access = Access("schedules")

    async def get(self) -> None:
        self.require(None)
        page = Page.of_request(self, (), NAME)
        # One more shows whether there are any behind them.
        found = await self.ask(
            lambda timeout: self.context.schedules.list(self.owner, timeout, limit=page.limit + 1, after=page.behind)
        )
        listed, cursor = page.cut(self, found, lambda schedule: schedule.name)
        write_json(self, {"schedules": [document.summary(each) for each in listed], "next": cursor})


class OneScheduleHandler(ScheduleHandler):
    """GET, PUT and DELETE /schedules/{name}; with PUT, `?dry_run=1` answers only what it would make."""

    access = Access("schedules", named=True)

    async def get(self, name: str) -> None:
        self.finish_schedule(await self.ask(lambda timeout: self.context.schedules.get(self.owner, name, timeout)))

    async def put(self, name: str) -> None:
        expected, dry_run = condition(self.request.headers), self._dry_run()
        try:
            request = ScheduleRequest.of_body(read_json(self.request), self.context.check_webhook)
            # It makes jobs.
            self.require(request.job.name, "jobs")
            definition = request.definition(await self.kind(request.job.name))
            _check_queue(self.context, definition)
            # What is wrong is so whatever the client expects to be there (RFC 9110, 13.2.1).
            definition.ticks(datetime.now(timezone.utc))
        except (BadRequest, BadParameter) as error:
            raise HTTPError(400, "%s", error) from error
        except BadTicks as error:
            raise HTTPError(422, "%s", error) from error
        schedule, created = await self.ask(
            lambda timeout: self.context.schedules.put(self.owner, name, definition, expected, timeout, dry_run)
        )
        if dry_run:
            write_json(self, document.document(schedule))
            return
        if created:
            self.set_status(201)
            self.set_header("Location", document.path(name))
        self.finish_schedule(schedule)

    async def delete(self, name: str) -> None:
        expected = condition(self.request.headers)
        if not await self.ask(lambda timeout: self.context.schedules.delete(self.owner, name, expected, timeout)):
            raise no_such_schedule()
        self.set_status(204)
        self.finish()

    def _dry_run(self) -> bool:
        for name in self.request.query_arguments:
            if name != "dry_run":
                raise HTTPError(400, "%s: there is no such parameter; there is dry_run.", name[:100])
        values = self.get_query_arguments("dry_run")
        if values not in ([], ["0"], ["1"]):
            raise HTTPError(400, "dry_run: 0 or 1 is expected.")
        return values == ["1"]


class OtherNameHandler(ScheduleHandler):
    """The same, for what is no name of a schedule: the database may take it for one that differs in blanks."""

    access = Access("schedules", named=True)

    async def get(self, _: str) -> None:
        raise no_such_schedule()

    async def put(self, name: str) -> None:
        try:
            check_name(name)
        except BadRequest as error:
            raise HTTPError(400, str(error)) from error
        raise no_such_schedule()  # a name, but encoded without need

    async def delete(self, _: str) -> None:
        raise no_such_schedule()


class SwitchHandler(ScheduleHandler):
    """POST /schedules/{name}/pause and /resume"""

    access = Access("schedules", named=True)

    def initialize(self, context: Context, enabled: bool = True) -> None:
        super().initialize(context)
        self._enabled = enabled

    async def post(self, name: str) -> None:
        expected = condition(self.request.headers)
        if self._enabled:
            # It makes jobs again.
            schedule = await self.ask(lambda timeout: self.context.schedules.get(self.owner, name, timeout))
            if schedule is None:
                raise no_such_schedule() if expected(None) else precondition_failed()
            self.require(schedule.definition.job, "jobs")
            _check_queue(self.context, schedule.definition)
        switched = await self.ask(
            lambda timeout: self.context.schedules.switch(self.owner, name, self._enabled, expected, timeout)
        )
        self.finish_schedule(switched)


class RunHandler(JobHandler):
    """POST /schedules/{name}/run: a job of it, out of turn"""

    access = Access("schedules", named=True)

    async def post(self, name: str) -> None:
        try:
            key = parse_key(self.request.headers.get_list("Idempotency-Key"))
        except BadRequest as error:
            raise HTTPError(400, str(error)) from error
        expected = condition(self.request.headers)
        schedule = await self.ask(lambda timeout: self.context.schedules.get(self.owner, name, timeout))
        if not expected(schedule):
            raise precondition_failed()
        if schedule is None:
            raise no_such_schedule()
        definition = schedule.definition
        self.require(definition.job, "jobs")
        _check_queue(self.context, definition)
        await self.finish_added(
            NewJob(
                id=new_id(),
                owner=self.owner,
                name=definition.job,
                queue=definition.queue,
                parameters=definition.parameters,
                retry=definition.retry,
                key=key,
                # Also when the schedule was edited meanwhile, the request is the same one.
                fingerprint=None if key is None else hashlib.sha256(f"{document.path(name)}/run".encode()).digest(),
                schedule=name,
                webhook=definition.webhook,
            )
        )


def _check_queue(context: Context, definition: Definition) -> None:
    """Raise HTTPError 400 where the queue is one of messages: who may not write to it could by a job."""
    if definition.queue in context.no_jobs:
        raise HTTPError(400, "job.queue: that one takes no jobs.")


def routes(context: Context) -> list[Any]:
    """The routes of this module."""
    options = {"context": context}
    return [
        (r"/schedules", SchedulesHandler, options),
        (rf"/schedules/({NAME})", OneScheduleHandler, options),
        (r"/schedules/([^/]+)", OtherNameHandler, options),
        (rf"/schedules/({NAME})/pause", SwitchHandler, {**options, "enabled": False}),
        (rf"/schedules/({NAME})/resume", SwitchHandler, {**options, "enabled": True}),
        (rf"/schedules/({NAME})/run", RunHandler, options),
    ]


def operations(offer: Offer) -> list[Operation]:
    """What they answer."""

    def operation(name: str, method: str, at: str, summary: str, **options: Any) -> Operation:
        scope = f"schedules.{action_in('schedules', method)}" + (":NAME" if at else "")
        return Operation(
            id=name, method=method, path=f"/schedules{at}", group="schedules", summary=summary, scope=scope, **options
        )

    def answer(description: str, status: int = 200, **headers: str) -> Answer:
        return json(description, schemas.SCHEDULE, status, headers={"ETag": "its version", **headers})

    name = path("name", schemas.NAME, "of a schedule")
    definition = schemas.new_schedule(offer.kinds, offer.webhooks)
    dry_run = Parameter("dry_run", {"type": "string", "enum": ["0", "1"]}, "`1` answers only what it would be")
    switched = [
        operation(
            f"{word}_schedule", "POST", f"/{{name}}/{word}", summary,
            parameters=[name, IF_MATCH, IF_NONE_MATCH],
            answers=[answer("the schedule")],
            problems=(400, 404, 412, *STORE),
        )
        for word, summary in (("pause", "the schedule, paused"), ("resume", "the schedule, with its next tick"))
    ]
    return [
        operation(
            "schedules", "GET", "", "the schedules, by name",
            parameters=PAGE, answers=[page("schedules", schemas.SUMMARY)], problems=(400, *STORE),
        ),
        operation(
            "put_schedule", "PUT", "/{name}", "a schedule, made or edited",
            parameters=[name, dry_run, IF_MATCH, IF_NONE_MATCH],
            body=definition,
            answers=[answer("edited"), answer("made", 201, Location="of the schedule")],
            problems=(400, 404, 412, 422, *LIST, *STORE),
        ),
        operation(
            "schedule", "GET", "/{name}", "a schedule and its next five times",
            parameters=[name], answers=[answer("the schedule")], problems=(404, *STORE),
        ),
        operation(
            "delete_schedule", "DELETE", "/{name}", "no schedule; its jobs remain",
            parameters=[name, IF_MATCH, IF_NONE_MATCH],
            answers=[Answer("deleted", status=204)],
            problems=(400, 404, 412, *STORE),
        ),
        *switched,
        operation(
            "run_schedule", "POST", "/{name}/run", "a job of it at once",
            parameters=[name, IDEMPOTENCY_KEY, PREFER_NEWS, IF_MATCH, IF_NONE_MATCH],
            answers=ADDED,
            problems=(400, 404, 409, 412, 422, 429, *STORE),
        ),
    ]
