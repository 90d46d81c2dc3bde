"""Jobs as server-sent events."""

from nowait.errors import Overloaded
from server.http.event_stream import COMMENT, COMMENT_INTERVAL, EventStream, event
from server.http.jobs import JobHandler, no_such_job
from server.http.problem import TOO_MANY_WATCHERS, ProblemError
from server.jobs import document
from server.jobs.model import Job
from server.jobs.watcher import TooManyWatches, Watch

_RETRY = 2000  # milliseconds after which a client whose stream has ended comes again


class EventsHandler(EventStream, JobHandler):
    """Base of the routes that send events.

    An event is the job as it is, not what has happened to it: nothing has to be kept for those who come again.
    """

    async def stream_events(self, job_id: str) -> None:
        """Answer with an event for each version of the job that is seen, the present one first, until it has ended.

        A client that has the last one gets 204, which ends its coming again. A server that stops ends the stream, and
        the client comes again.

        Raises HTTPError 404, ProblemError, and Finish when the client leaves, or takes too long.
        """
        try:
            with self.context.watcher.watch(job_id) as watch:
                # All readers come again at the same moment when a server has stopped: one look is enough for them.
                job = await self.ask(lambda _: self.context.watcher.read(job_id, self.client.sees))
                if job is None:
                    raise no_such_job()
                self.require(job.name)
                async with self.subscribed():
                    await self._stream(job, watch)
                if not self._finished:
                    self.finish()
        except TooManyWatches as error:
            raise ProblemError(TOO_MANY_WATCHERS) from error

    async def _stream(self, job: Job, watch: Watch) -> None:
        sent = self.request.headers.get("Last-Event-ID")
        if job.state.final and sent == str(job.version):
            self.set_status(204)
            self.finish()
            return
        if not await self.begin_events(_RETRY):
            return
        present: Job | None = job
        while present is not None and not self.context.watcher.closed:
            if str(present.version) != sent:
                try:
                    await self._write_job(present)
                except Overloaded:
                    # The client comes again, and finds the same.
                    break
                sent = str(present.version)
            if present.state.final:
                break
            if await self.wait_for(watch.changed(present.version, COMMENT_INTERVAL)):
                present = await self.latest(present)
            else:
                await self.write_taken(COMMENT)

    async def _write_job(self, job: Job) -> None:
        """Write the event of a job as it is. Raises Overloaded where there is no room for its result, and Finish."""
        text = job_event(job, self.once(job))
        share = self.context.tasks.hold(len(text))
        try:
            await self.write_taken(text)
        finally:
            share.release()


def job_event(job: Job, once: bool | None) -> bytes:
    """The event of a job as it is."""
    kind = b"done" if job.state.final else b"progress"
    return event(job.version, kind, b"%s%s%s" % document.parts(job, once))
