"""What the handlers of topics share."""

import re
from collections.abc import Sequence
from contextlib import AsyncExitStack

from tornado.web import HTTPError

from server.http.event_stream import COMMENT, COMMENT_INTERVAL, EventStream, event
from server.http.problem import TOO_MANY_SUBSCRIBERS, ProblemError
from server.topics.event import Event, Gap, Item, Position
from server.topics.log import TooManySubscribers

_ID = re.compile("[0-9]{1,18}")  # longer than the broker's 64 bits, or negative, it is none of ours
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
        after = self.last_id()
        if self.request.method == "HEAD":
            await self.begin_events(_RETRY)
            return
        try:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(self.subscribed())
                subscribed = self.context.topics.subscribe(topics, after, COMMENT_INTERVAL)
                batches = await stack.enter_async_context(subscribed)
                await self.begin_events(_RETRY)
                while (items := await self.wait_for(anext(batches, None))) is not None:
                    await self.write_taken(encoded(items) or COMMENT)
        except TooManySubscribers as error:
            raise ProblemError(TOO_MANY_SUBSCRIBERS) from error
        self.finish()

    def last_id(self, since: str | None = None) -> int | None:
        """The offset that the client has last got, its `Last-Event-ID` or else `since`; None for none.

        Raises HTTPError 400 when one of them is no offset.
        """
        offset = None
        for name, given in (("since", since), ("Last-Event-ID", self.request.headers.get("Last-Event-ID"))):
            if given is None:
                continue
            if not _ID.fullmatch(given):
                raise HTTPError(400, f"{name}: the id of an event is expected.")
            offset = int(given)
        return offset


def encoded(items: Sequence[Item], kind: bytes | None = None) -> bytes:
    """Items as server-sent events; `kind` is the type of the messages among them, None for `message`."""
    return b"".join(_encode(item, kind) for item in items)


def _encode(item: Item, kind: bytes | None) -> bytes:
    if isinstance(item, Event):
        return event(item.offset, kind, item.document)
    if isinstance(item, Position):
        return event(item.offset, None, b"")
    if isinstance(item, Gap):
        return event(None, b"gap", b'{"before":%d}' % item.offset)
    return event(item.offset, b"reset", b'{"behind":%d}' % item.offset)
