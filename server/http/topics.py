"""What the handlers of topics share."""

import re
from collections.abc import Iterable
from contextlib import AsyncExitStack

from tornado.web import HTTPError

from server.http.event_stream import COMMENT, COMMENT_INTERVAL, EventStream, event
from server.http.problem import TOO_MANY_SUBSCRIBERS, ProblemError
from server.keys.quota import SUBSCRIBERS
from server.topics.event import Event, Gap, Item, Position
from server.topics.log import TooManySubscribers

_RETRY = 1000  # milliseconds after which a client whose stream has ended comes again


class TopicHandler(EventStream):
    """Base of the routes of topics."""

    def check_topic(self, name: str) -> None:
        """Raises HTTPError 404 where there is none of that name."""
        if name not in self.context.topic_names:
            raise HTTPError(404, "There is no topic of that name.")

    async def stream_topics(self, topics: frozenset[str]) -> None:
        """Answer with the events of topics, from `Last-Event-ID` or from now on.

        The stream ends when its client does not take it, or the server stops; the client comes again.

        Raises HTTPError, ProblemError, and Finish when the client leaves, or takes nothing.
        """
        after = self.request.headers.get("Last-Event-ID")
        # Longer than the broker's 64 bits, or negative, it is none of ours.
        if after is not None and not re.fullmatch("[0-9]{1,18}", after):
            raise HTTPError(400, "Last-Event-ID: the id of an event is expected.")
        if self.request.method == "HEAD":
            await self.begin_events(_RETRY)
            return
        offset = None if after is None else int(after)
        try:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(self.counted_as(SUBSCRIBERS))
                subscribed = self.context.topics.subscribe(topics, offset, COMMENT_INTERVAL)
                batches = await stack.enter_async_context(subscribed)
                await self.begin_events(_RETRY)
                while (items := await self.wait_for(anext(batches, None))) is not None:
                    await self.write_taken(encoded(items) or COMMENT)
        except TooManySubscribers as error:
            raise ProblemError(TOO_MANY_SUBSCRIBERS) from error
        self.finish()


def encoded(items: Iterable[Item]) -> bytes:
    """Items as server-sent events."""
    return b"".join(map(_encode, items))


def _encode(item: Item) -> bytes:
    if isinstance(item, Event):
        return event(item.offset, None, item.document)
    if isinstance(item, Position):
        return event(item.offset, None, b"")
    if isinstance(item, Gap):
        return event(None, b"gap", b'{"before":%d}' % item.offset)
    return event(item.offset, b"reset", b'{"behind":%d}' % item.offset)
