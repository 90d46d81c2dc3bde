"""Everything that the live page is sent, on one connection: a browser has six to a server, over all its tabs."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any

from tornado.web import HTTPError

from server.http.access import OPEN
from server.http.context import Context
from server.http.event_stream import COMMENT_INTERVAL, event
from server.http.jobs import JobHandler
from server.http.problem import TOO_MANY_SUBSCRIBERS, TOO_MANY_WATCHERS, ProblemError
from server.http.topics import TopicHandler, encoded
from server.jobs import document, schemas
from server.jobs.model import StoreUnavailable
from server.jobs.watcher import TooManyWatches, Watch
from server.live.merged import merged
from server.live.pulse import Pulse, TooManyLooks
from server.openapi.offer import Offer
from server.openapi.operation import Operation, Parameter, events, header
from server.openapi.shared import MESSAGE, OFFSET, STORE, TEXT
from server.topics.event import Item
from server.topics.log import TooManySubscribers

_ID = re.compile("[0-9a-f-]{36}")
_RETRY = 2000  # milliseconds after which a page whose stream has ended comes again
_LOOK_AGAIN = 15.0  # seconds after which a job is looked at without news of it
_PAUSE = 1.0  # seconds until the next look while the database is away


class _Lost(Exception):
    """One of the sources has ended before its time: the page has to come again for the rest."""


class LiveHandler(TopicHandler, JobHandler):
    """GET /live/events?job=&topics=&since=

    `statistics` each second, `job` for each version of a job that is seen, and `topic` for each message of topics, with
    their `gap` and `reset`. Of a topic that is not there nothing comes. The stream's ids are those of topics: it goes
    on behind `Last-Event-ID`, or behind `since` where a page opens it anew.
    """

    access = OPEN

    def initialize(self, context: Context, pulse: Pulse | None = None) -> None:
        super().initialize(context)
        assert pulse is not None
        self._pulse = pulse

    async def get(self) -> None:
        jobs = self.get_query_arguments("job")
        if len(jobs) > 1 or not all(_ID.fullmatch(job) for job in jobs):
            raise HTTPError(400, "job: one id is expected.")
        topics = self.context.topic_names.intersection(",".join(self.get_query_arguments("topics")).split(","))
        after = self.last_id(self.get_query_argument("since", None, strip=False))
        try:
            async with AsyncExitStack() as stack:
                stack.enter_context(self._pulse.look())
                sources = [self._pulse.events()]
                sources += [self._events_of(job, stack.enter_context(self.context.watcher.watch(job))) for job in jobs]
                if topics:
                    subscribed = self.context.topics.subscribe(topics, after, COMMENT_INTERVAL)
                    sources.append(_messages(await stack.enter_async_context(subscribed)))
                async with aclosing(merged(*sources)) as events:
                    if not await self.begin_events(_RETRY):
                        return
                    while (found := await self.wait_for(anext(events, None))) and not self._pulse.closed:
                        await self.write_taken(found)
        except (TooManyLooks, TooManyWatches) as error:
            raise ProblemError(TOO_MANY_WATCHERS) from error
        except TooManySubscribers as error:
            raise ProblemError(TOO_MANY_SUBSCRIBERS) from error
        except _Lost:
            pass
        self.finish()

    async def _events_of(self, job_id: str, watch: Watch) -> AsyncGenerator[bytes, None]:
        """The job as it is now, and whenever it has changed, until it has ended."""
        version = -1
        while not self.context.watcher.closed:
            try:
                job = await self.context.watcher.read(job_id, self.client.sees)
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


async def _messages(batches: AsyncGenerator[Sequence[Item], None]) -> AsyncGenerator[bytes, None]:
    """What a subscriber gets. Raises _Lost when it gets nothing more."""
    async for items in batches:
        if items:
            yield encoded(items, b"topic")
    raise _Lost


def routes(context: Context, pulse: Pulse) -> list[Any]:
    """The routes of this module."""
    return [(r"/live/events", LiveHandler, {"context": context, "pulse": pulse})]


def operations(_: Offer) -> list[Operation]:
    """What they answer."""
    return [
        Operation(
            id="live_events",
            method="GET",
            path="/live/events",
            group="pages",
            summary="figures of the process each second, a job and topics that are followed, as server-sent events",
            parameters=[
                Parameter("job", schemas.ID, "the id of the job"),
                Parameter("topics", TEXT, "names with commas between"),
                Parameter("since", OFFSET, "as `Last-Event-ID`, of a stream that has none"),
                header("Last-Event-ID", OFFSET, "the messages of the topics behind this one"),
            ],
            answers=[
                events("until the client leaves", ("statistics", "job", "topic", "gap", "reset"), {"type": "object"})
            ],
            problems=(400, *STORE, *MESSAGE),
            open=True,
        )
    ]
