"""A message of a topic, as subscribers get it. No I/O."""

import json
from dataclasses import dataclass

from nowait.messages.stream import StreamMessage
from server import strict_json


@dataclass(frozen=True)
class Event:
    """A message of a topic.

    Attributes:
        offset: its place in the log, the same for all servers.
        topic: its topic.
        document: what subscribers get, a JSON object on one line.
    """

    offset: int
    topic: str
    document: bytes


@dataclass(frozen=True)
class Position:
    """Where a subscriber begins: behind this offset."""

    offset: int


@dataclass(frozen=True)
class Gap:
    """Messages before this offset are gone: the subscriber may have missed some."""

    offset: int


@dataclass(frozen=True)
class Reset:
    """The subscriber comes from another log: it begins behind this offset, and may have missed any number."""

    offset: int


Item = Event | Position | Gap | Reset


def topic_of(message: StreamMessage) -> str:
    """The topic of a message: its routing key, and its type where it was published to the stream itself."""
    return message.routing_key if message.exchange else message.kind


def event_of(message: StreamMessage) -> Event | None:
    """The event of a message; None for one that is no JSON on one line, whoever published it."""
    body = message.body.strip()
    try:
        strict_json.loads(body.decode())
    except ValueError:
        return None
    if b"\n" in body or b"\r" in body:
        return None
    head = json.dumps({"topic": topic_of(message), "message_id": message.message_id}).encode()
    return Event(message.offset, topic_of(message), b'%s, "data": %s}' % (head[:-1], body))
