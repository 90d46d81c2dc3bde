"""Everything that the live page is sent, on one connection: a browser has six to a server, over all its tabs."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from typing import Any

from tornado.web import HTTPError

from server.http.context import Context
from server.http.event_stream import EventStream, event
from server.http.jobs import JobHandler
from server.http.problem import TOO_MANY_WATCHERS, ProblemError
from server.jobs import document, schemas
from server.jobs.model import StoreUnavailable
from server.jobs.watcher import TooManyWatches, Watch
from server.live.merged import merged
from server.live.pulse import Pulse, TooManyLooks
from server.openapi.operation import Operation, Parameter, events
from server.openapi.shared import STORE

_ID = re.compile("[0-9a-f-]{36}")
_RETRY = 2000  # milliseconds after which a page whose stream has ended comes again
_LOOK_AGAIN = 15.0  # seconds after which a job is looked at without news of it
_PAUSE = 1.0  # seconds until the next look while the database is away


class LiveHandler(EventStream, JobHandler):
    """GET /live/events?job=: `statistics` each second, and `job` for each version of a job that is seen"""

    def initialize(self, context: Context, pulse: Pulse | None = None) -> None:
        super().initialize(context)
        assert pulse is not None
        self._pulse = pulse

    async def get(self) -> None:
        jobs = self.get_query_arguments("job")
        if len(jobs) > 1 or not all(_ID.fullmatch(job) for job in jobs):
            raise HTTPError(400, "job: one id is expected.")
        try:
            with ExitStack() as stack:
                stack.enter_context(self._pulse.look())
                sources = [self._pulse.events()]
                sources += [self._events_of(job, stack.enter_context(self.context.watcher.watch(job))) for job in jobs]
                async with aclosing(merged(*sources)) as events:
                    if not await self.begin_events(_RETRY):
                        return
                    while (found := await self.wait_for(_next(events))) and not self._pulse.closed:
                        await self.write_taken(found)
        except (TooManyLooks, TooManyWatches) as error:
            raise ProblemError(TOO_MANY_WATCHERS) from error
        self.finish()

    async def _events_of(self, job_id: str, watch: Watch) -> AsyncGenerator[bytes, None]:
        """The job as it is now, and whenever it has changed, until it has ended."""
        version = -1
        while not self.context.watcher.closed:
            try:
                job = await self.context.watcher.read(job_id, self.owner)
            except StoreUnavailable:
                await asyncio.sleep(_PAUSE)
                continue
            if job is None:
                return
            if job.version != version:
                # Without an id: that would be the whole stream's.
                yield event(None, b"job", b"%s%s%s" % document.parts(job, self.once(job)))
                version = job.version
            if job.state.final:
                return
            await watch.changed(version, _LOOK_AGAIN)


async def _next(events: AsyncGenerator[bytes, None]) -> bytes | None:
    """None at their end."""
    async for found in events:
        return found
    return None


def routes(context: Context, pulse: Pulse) -> list[Any]:
    """The routes of this module."""
    return [(r"/live/events", LiveHandler, {"context": context, "pulse": pulse})]


def operations(_: Context) -> list[Operation]:
    """What they answer."""
    return [
        Operation(
            id="live_events",
            method="GET",
            path="/live/events",
            group="pages",
            summary="figures of the process each second, and a job that is followed, as server-sent events",
            parameters=[Parameter("job", schemas.ID, "the id of the job")],
            answers=[events("until the client leaves", ("statistics", "job"), {"type": "object"})],
            problems=(400, *STORE),
        )
    ]
