"""Topics: every subscriber gets each message."""

from typing import Any

from tornado.web import HTTPError

from server.http.access import Access
from server.http.body import read_json_line
from server.http.context import Context
from server.http.handler import write_json
from server.http.topics import TopicHandler
from server.openapi.offer import Offer
from server.openapi.operation import Operation, Parameter, events, header, json, members, path
from server.openapi.shared import MESSAGE, OFFSET, TEXT

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


def operations(offer: Offer) -> list[Operation]:
    """What they answer."""
    names = sorted(offer.topics)
    name = path("name", {"type": "string", "enum": names} if names else TEXT, "of a topic")
    some = {"type": "string", "enum": sorted({*names, ",".join(names)})} if names else TEXT
    several = Parameter("topics", some, "names with commas between", required=True)
    last = header("Last-Event-ID", OFFSET, "the events behind this one")
    offset = {"type": "integer", "minimum": 0}
    data = {
        "anyOf": [
            members({"topic": TEXT, "message_id": TEXT, "data": {}}),
            {**members({"before": offset}), "description": "of a `gap`: messages before this one may be missing"},
            {**members({"behind": offset}), "description": "of a `reset`: the log is another one"},
        ]
    }
    what = "messages as they come, behind `Last-Event-ID` first those that are kept"
    following = events(what, ("message", "gap", "reset"), data)
    return [
        Operation(
            id="publish",
            method="POST",
            path="/topics/{name}",
            group="topics",
            summary="a message for all subscribers",
            scope="topics.write:NAME",
            parameters=[name],
            body={},
            answers=[json("the broker has it", members({"topic": TEXT, "message_id": TEXT}), 202)],
            problems=(400, 404, *MESSAGE),
            description=f"Any JSON value, of up to {_MAX_MESSAGE} bytes.",
        ),
        Operation(
            id="topic_events",
            method="GET",
            path="/topics/{name}/events",
            group="topics",
            summary="the messages of a topic as server-sent events",
            scope="topics.read:NAME",
            parameters=[name, last],
            answers=[following],
            problems=(400, 404, *MESSAGE),
        ),
        Operation(
            id="events",
            method="GET",
            path="/events",
            group="topics",
            summary="those of several topics",
            scope="topics.read:NAME",
            parameters=[several, last],
            answers=[following],
            problems=(400, 404, *MESSAGE),
        ),
    ]
