"""Jobs as server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from tornado.web import Finish

from server.http.jobs import JobHandler, no_such_job
from server.http.problem import TOO_MANY_WATCHERS, ProblemError
from server.jobs import document
from server.jobs.model import Job
from server.jobs.watcher import TooManyWatches, Watch

_RETRY = 2000  # milliseconds after which a client whose stream has ended comes again
_COMMENT_INTERVAL = 15.0  # seconds of silence after which one shows both sides that the other is there


class EventsHandler(JobHandler):
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
                job = await self.ask(lambda _: self.context.watcher.read(job_id, self.owner))
                if job is None:
                    raise no_such_job()
                await self._stream(job, watch)
        except TooManyWatches as error:
            raise ProblemError(TOO_MANY_WATCHERS) from error

    async def _stream(self, job: Job, watch: Watch) -> None:
        sent = self.request.headers.get("Last-Event-ID")
        if job.state.final and sent == str(job.version):
            self.set_status(204)
            self.finish()
            return
        await self.open_stream()
        present: Job | None = job
        while present is not None and not self.context.watcher.closed:
            if str(present.version) != sent:
                await self.write_taken(job_event(present, self.once(present)))
                sent = str(present.version)
            if present.state.final:
                break
            if await self.wait_for(watch.changed(present.version, _COMMENT_INTERVAL)):
                present = await self.latest(present)
            else:
                await self.write_taken(b":\n\n")
        self.finish()

    async def open_stream(self) -> None:
        """Begin the answer. Raises Finish when no events are wanted behind it, and when the client leaves."""
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")  # of nginx
        await self._taken(self.flush())
        if self.request.method == "HEAD":
            self.finish()
            raise Finish
        await self.write_taken(b"retry: %d\n\n" % _RETRY)


def job_event(job: Job, once: bool | None) -> bytes:
    """The event of a job as it is."""
    kind = b"done" if job.state.final else b"progress"
    start, result, end = document.parts(job, once)
    return b"id: %d\nevent: %s\ndata: %s%s%s\n\n" % (job.version, kind, start, result, end)
