"""What a consumer and its server write to each other, and what the consumer holds. No I/O.

The server writes messages, `{"tag": 1, "message_id": "…", "redelivered": false, "data": …}`, the consumer
`{"ack": 1}`, or `{"hand_back": 1}`, with the tag of one that it holds.
"""

import base64
import json
from dataclasses import dataclass

from nowait.amqp.methods import Delivery
from server import strict_json


class BadCommand(Exception):
    """What a consumer has written is none of the commands; its text is for it."""


@dataclass(frozen=True)
class Command:
    """What a consumer wants done with a message that it holds: acknowledged, or handed back."""

    acknowledges: bool
    tag: int


class Session:
    """One consumer's messages.

    Args:
        lease: seconds for which it may hold one.
    """

    def __init__(self, lease: float) -> None:
        self._lease = lease
        self._held: dict[int, float] = {}  # until when, by their tags, the oldest first

    def __len__(self) -> int:
        """Messages that it holds."""
        return len(self._held)

    def __repr__(self) -> str:
        return f"<Session {len(self)} held>"

    @property
    def due(self) -> float | None:
        """When the first of its leases is over; None when it holds nothing."""
        return next(iter(self._held.values()), None)

    def delivered(self, delivery: Delivery, now: float) -> bytes:
        """It gets a message. Returns what is written to it."""
        self._held[delivery.tag] = now + self._lease
        head = {
            "tag": delivery.tag,
            "message_id": delivery.properties.get("message_id", ""),
            "redelivered": delivery.source().redelivered,
        }
        return b"%s, %s}" % (json.dumps(head).encode()[:-1], _data(delivery.body))

    def settled(self, text: str | bytes) -> Command:
        """It has written something. Raises BadCommand when that is no command, or for one that it does not hold."""
        try:
            document = strict_json.loads(text if isinstance(text, str) else text.decode())
        except ValueError as error:
            raise BadCommand("JSON is expected") from error
        if not isinstance(document, dict) or len(document) != 1:
            raise BadCommand("ack or hand_back is expected")
        ((name, tag),) = document.items()
        if name not in ("ack", "hand_back"):
            raise BadCommand("ack or hand_back is expected")
        if type(tag) is not int or self._held.pop(tag, None) is None:
            raise BadCommand("the tag of a held message is expected")
        return Command(name == "ack", tag)


def _data(body: bytes) -> bytes:
    """The member with a message's value; what is no JSON, whoever put it there, is in base64."""
    try:
        strict_json.loads(body.decode())
    except ValueError:
        return b'"base64": "%s"' % base64.b64encode(body)
    return b'"data": %s' % body
