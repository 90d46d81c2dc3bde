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


def event_of(message: StreamMessage) -> Event | None:
    """The event of a message; None for one that is no JSON on one line, whoever published it."""
    topic = message.routing_key if message.exchange else message.kind
    body = message.body.strip()
    try:
        strict_json.loads(body.decode())
    except ValueError:
        return None
    if b"\n" in body or b"\r" in body:
        return None
    head = json.dumps({"topic": topic, "message_id": message.message_id}).encode()
    return Event(message.offset, topic, b'%s, "data": %s}' % (head[:-1], body))
