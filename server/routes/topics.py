"""Topics: every subscriber gets each message."""

from typing import Any

from tornado.web import HTTPError

from server.http.access import Access
from server.http.body import read_json_line
from server.http.context import Context
from server.http.handler import write_json
from server.http.topics import TopicHandler

_NAME = "([A-Za-z0-9_-]{1,64})"
_MAX_MESSAGE = 64 * 1024  # bytes


class PublishHandler(TopicHandler):
    """POST /topics/{name}"""

    access = Access("topics", named=True)

    async def post(self, name: str) -> None:
        self.check_topic(name)
        body = read_json_line(self.request, _MAX_MESSAGE)
        published = self.context.topics.publish(name, body, self.deadline.remaining())
        message_id = await self.wait_for(published)
        self.set_status(202)
        write_json(self, {"topic": name, "message_id": message_id})


class TopicEventsHandler(TopicHandler):
    """GET /topics/{name}/events"""

    access = Access("topics", named=True)

    async def get(self, name: str) -> None:
        self.check_topic(name)
        await self.stream_topics(frozenset([name]))


class EventsOfTopicsHandler(TopicHandler):
    """GET /events?topics=a,b"""

    access = Access("topics")

    async def get(self) -> None:
        names = frozenset(filter(None, ",".join(self.get_query_arguments("topics")).split(",")))
        if not names:
            raise HTTPError(400, "topics: names with commas between are expected.")
        for name in names:
            self.require(name)
            self.check_topic(name)
        await self.stream_topics(names)


def routes(context: Context) -> list[Any]:
    """The routes of this module."""
    options = {"context": context}
    return [
        (rf"/topics/{_NAME}", PublishHandler, options),
        (rf"/topics/{_NAME}/events", TopicEventsHandler, options),
        (r"/events", EventsOfTopicsHandler, options),
    ]
