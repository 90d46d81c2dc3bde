"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.http.handler import BaseHandler
from server.keys.quota import SUBSCRIBERS

COMMENT_INTERVAL = 15.0  # seconds of silence after which a comment shows both sides that the other is there
COMMENT = b":\n\n"


def event(offset: int | None, kind: bytes | None, data: bytes) -> bytes:
    """One event.

    Args:
        offset: its id, with which a client comes again; None for none.
        kind: its type; None for `message`.
        data: on one line; b"" for none: a client only notes the id.
    """
    parts = [b"" if offset is None else b"id: %d\n" % offset, b"" if kind is None else b"event: %s\n" % kind]
    return b"".join([*parts, b"data: %s\n" % data if data else b"", b"\n"])


class _KeyEnded(Exception):
    """The client's key is valid no more."""


class EventStream(BaseHandler):
    """Base of the routes that send events."""

    @asynccontextmanager
    async def subscribed(self) -> AsyncIterator[None]:
        """While the block runs, the request is a subscriber of its client; it ends early when the client's key does.

        The stream is to be finished behind it: who comes again has to have another key. Raises as counted_as().
        """
        async with self.counted_as(SUBSCRIBERS):
            try:
                with self.context.gate.followers.following(self.client, lambda: self._end(_KeyEnded())):
                    yield
            except _KeyEnded:
                pass

    async def begin_events(self, retry: int) -> bool:
        """Begin the answer. Returns False for HEAD, which has ended then.

        Args:
            retry: milliseconds after which a client whose stream has ended comes again.

        Raises Finish when the client leaves.
        """
        self.begin_without_length("text/event-stream")
        self.set_header("X-Accel-Buffering", "no")  # of nginx
        await self._taken(self.flush())
        if self.request.method == "HEAD":
            self.finish()
            return False
        await self.write_taken(b"retry: %d\n\n" % retry)
        return True
