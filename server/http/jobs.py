"""What the handlers of jobs share: where jobs are kept, and answers that are held back for news."""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from tornado.web import HTTPError

from nowait.deadline import Deadline
from nowait.errors import DeadlineExceeded, Unroutable
from nowait.messages.encoded import Encoded
from server.http import prefer, problem
from server.http.context import Context
from server.http.handler import BaseHandler, one_line
from server.http.problem import Problem, ProblemError
from server.jobs import document
from server.jobs.kind import JobKind
from server.jobs.model import (
    AlreadyEnded,
    Job,
    KeyInUse,
    KeyReused,
    NewJob,
    NotEnded,
    SchemaMissing,
    StoreUnavailable,
    TooManyJobs,
)
from server.jobs.watcher import TooManyWatches, Watch

log = logging.getLogger(__name__)

_STORE_TIMEOUT = 2.0  # seconds in which the database answers, or is taken to be away
_RETRY_AFTER = "1"  # seconds after which another look at a job that has not ended makes sense

_PROBLEMS: dict[type[Exception], Problem] = {
    SchemaMissing: problem.JOBS_SCHEMA,
    StoreUnavailable: problem.JOBS_UNAVAILABLE,
    KeyReused: problem.KEY_REUSED,
    KeyInUse: problem.KEY_IN_USE,
    TooManyJobs: problem.TOO_MANY_JOBS,
    AlreadyEnded: problem.JOB_ENDED,
    NotEnded: problem.JOB_NOT_ENDED,
}

T = TypeVar("T")


class JobHandler(BaseHandler):
    """Base of the routes of jobs.

    A client's `wait` is how long the answer may be held back for news; at its end, the answer is what there is.
    """

    def initialize(self, context: Context) -> None:
        super().initialize(context)
        self.respond_async = False
        self.wait = 0.0  # seconds
        self._held_until = Deadline.after(0.0)

    def apply_preferences(self, header: str) -> None:
        self.respond_async = prefer.respond_async(header)
        self.wait = min(prefer.wait(header) or 0.0, self.context.timeout)
        self._held_until = Deadline.after(self.wait)

    async def ask(self, call: Callable[[float], Awaitable[T]]) -> T:
        """What the store answers to a call, which gets the seconds that it may take.

        Raises ProblemError, and Finish when the client leaves.
        """
        try:
            return await self.wait_for(call(min(_STORE_TIMEOUT, self.deadline.remaining())))
        except tuple(_PROBLEMS) as error:
            answer = next(_PROBLEMS[cls] for cls in type(error).__mro__ if cls in _PROBLEMS)
            if isinstance(error, StoreUnavailable):
                self._log_unavailable(error)
            if isinstance(error, AlreadyEnded):
                answer = replace(answer, detail=f"The job has ended: it is {error.job.state.value}.")
            raise ProblemError(answer) from error

    async def find(self, job_id: str) -> Job:
        """The job. Raises HTTPError 404, and as ask()."""
        job = await self.ask(lambda timeout: self.context.jobs.get(job_id, self.client.sees, timeout))
        if job is None:
            raise no_such_job()
        self.require(job.name)
        return job

    async def check_named(self, job_id: str) -> None:
        """Raise ProblemError unless the client may do to the job what it asks for; HTTPError 404, and as ask()."""
        if not self.for_all_names:
            await self.find(job_id)

    async def latest(self, job: Job) -> Job | None:
        """The job as it is now; as it was while the database is away; None when it is gone."""
        try:
            # Whatever time is left: without a look, what was waited for would not be seen.
            return await self.wait_for(self.context.watcher.read(job.id, self.client.sees))
        except StoreUnavailable as error:
            self._log_unavailable(error)
            return job

    async def kind(self, name: str) -> JobKind:
        """The kind of job of that name. Raises HTTPError 404, and BridgeError when the workers cannot list theirs."""
        kind = self.context.kinds.known(name)
        if kind is None:
            try:
                kind = await self.wait_for(self.context.kinds.get(name, self.deadline.remaining()))
            except DeadlineExceeded as error:
                raise Unroutable("no worker has listed its jobs in time") from error
        if kind is None:
            raise HTTPError(404, "There is no job of that name.")
        return kind

    def once(self, job: Job) -> bool | None:
        """As its kind's; None when that is not known."""
        kind = self.context.kinds.known(job.name)
        return None if kind is None else kind.once

    @contextlib.contextmanager
    def watching(self, job_id: str) -> Iterator[Watch | None]:
        """Watch a job for as long as the answer may be held back.

        None when it may not, or when as many watch as may: no preference has to be met.
        """
        with contextlib.ExitStack() as stack:
            watch = None
            if self._held_until.remaining() > 0:
                with contextlib.suppress(TooManyWatches):
                    watch = stack.enter_context(self.context.watcher.watch(job_id))
            yield watch

    async def hold(self, job: Job, watch: Watch | None, enough: Callable[[Job], bool]) -> Job:
        """The job, once there is `enough` to answer, or as it is when the answer must not be held back any longer."""
        while watch is not None and not enough(job) and not self.context.watcher.closed:
            if not await self.wait_for(watch.changed(job.version, self._held_until.remaining())):
                break
            job = await self.latest(job) or job
        return job

    def set_applied(self, watch: Watch | None) -> None:
        """Set the header `Preference-Applied`."""
        applied = ["respond-async"] if self.respond_async and self.get_status() == 202 else []
        applied += [] if watch is None else [f"wait={self.wait:g}"]
        if applied:
            self.set_header("Preference-Applied", ", ".join(applied))

    async def finish_added(self, new: NewJob) -> None:
        """Keep a job, wake a worker, and finish: with 200 when it ends while the answer may be held back, else 202.

        Raises as ask() and finish_job().
        """
        new = replace(new, traceparent=self.span.headers.get("traceparent"))
        job, replayed = await self.ask(lambda timeout: self.context.jobs.add(new, timeout))
        with self.watching(job.id) as watch:
            if not replayed:
                self.send(job, None if watch is None else self.wait)
            job = await self.hold(job, watch, ended)
        if replayed:
            self.set_header("Idempotent-Replayed", "true")
        if not job.state.final:
            await self.finish_accepted(job, watch)
            return
        self.set_header("Content-Location", document.path(job.id))
        self.set_applied(watch)
        await self.finish_job(job)

    async def finish_job(self, job: Job, held: bool = False) -> None:
        """Finish with the job's document.

        Args:
            job: the job.
            held: its result counts as an answer that is held, while it is written; not where a request has done what
                it should, and would be sent again.

        Raises Overloaded where there is no room, and Finish when the client leaves, or takes too long.
        """
        if not job.state.final:
            self.set_header("Retry-After", _RETRY_AFTER)
        start, result, end = document.parts(job, self.once(job))
        share = self.context.tasks.hold(len(result)) if held else None
        await self.finish_encoded(start, Encoded(result, share=share), end)

    async def finish_accepted(self, job: Job, watch: Watch | None = None) -> None:
        """The same, as 202: what was wanted of the job is still to come."""
        self.set_status(202)
        self.set_header("Location", document.path(job.id))
        self.set_applied(watch)
        await self.finish_job(job)

    def send(self, job: Job, wait: float | None) -> None:
        """Wake a worker, for an answer that may be held back for `wait` seconds, None for not at all.

        What the worker answers has the job looked at.
        """
        answered = self.context.publisher.send(job, wait)
        if answered is not None:
            answered.add_done_callback(lambda _: self.context.watcher.poke(job.id))

    def _log_unavailable(self, error: StoreUnavailable) -> None:
        log.error("request %s: the database of the jobs: %s", self.request_id, one_line(error))


def ended(job: Job) -> bool:
    """Has it?"""
    return job.state.final


def no_such_job() -> HTTPError:
    """The answer where there is none."""
    return HTTPError(404, "There is no such job.")
