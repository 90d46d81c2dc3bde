"""The cached form of a kind of task message: encoded once, but for the fields that differ from call to call."""

import json
from dataclasses import dataclass
from struct import Struct
from typing import Any

from amqp.serialization import dumps

from nowait.amqp.properties import encode, encode_short_string, flags, values
from nowait.messages.outbound import OutboundMessage

PLACEHOLDER_ID = "00000000-0000-4000-8000-000000000000"  # the task's id in a message that becomes a template

_SIZE = Struct(">I")
# The fields of the headers that differ from call to call, by their place in fill(); a sender's own come behind them.
_FIELDS = {"id": 0, "root_id": 0, "expires": 1, "argsrepr": 2, "kwargsrepr": 3}
_OWN = 4


@dataclass(frozen=True)
class CapturedMessage:
    """A message that Celery would have published."""

    body: bytes  # serialised
    properties: dict[str, Any]  # as Celery hands them to kombu, `headers` a dict
    exchange: str
    routing_key: str

    def encode(self) -> OutboundMessage:
        """Its form for the wire."""
        encoded = encode({**self.properties, "headers": dumps("F", (self.properties["headers"],))})
        return OutboundMessage(self.exchange, self.routing_key, encoded, self.body)


@dataclass(frozen=True)
class Template:
    """The properties of a kind of message, encoded but for the fields of each call."""

    exchange: str
    routing_key: str
    embed: str  # the third part of the body, as JSON
    start: bytes  # the flags, content type and encoding
    table: bytes  # the headers: their encoded entries, with %b for each field of a call
    places: tuple[int, ...]  # which field each of those is
    middle: bytes  # delivery mode and priority
    reply_to: bytes
    end: bytes  # what comes behind the expiration

    @classmethod
    def of(cls, captured: CapturedMessage, own: tuple[str, ...] = ()) -> "Template | None":
        """The template of a message that was made for PLACEHOLDER_ID, without arguments.

        Args:
            captured: the message.
            own: headers of the sender's own that differ from call to call, texts; the message has all of them.

        Returns None for a message that is not built as expected: each of its kind has to be made by Celery.
        """
        properties = captured.properties
        headers = properties["headers"]
        before, found, behind = captured.body.decode().partition("[[], {}, ")
        ids = {properties["correlation_id"], headers["id"], headers["root_id"]}
        if before or not found or ids != {PLACEHOLDER_ID} or json.loads(captured.body)[:2] != [[], {}]:
            return None
        table, places = _table(headers, {**_FIELDS, **{name: place for place, name in enumerate(own, _OWN)}})
        return cls(
            exchange=captured.exchange,
            routing_key=captured.routing_key,
            embed=behind[:-1],
            start=flags(properties) + values(properties, "content_type", "content_encoding"),
            table=table,
            places=places,
            middle=values(properties, "delivery_mode", "priority"),
            reply_to=values(properties, "reply_to"),
            end=values(properties, "message_id", "timestamp", "type", "user_id", "app_id", "cluster_id"),
        )

    def fill(
        self, task_id: str, expires: bytes, expiration: str, argsrepr: bytes, kwargsrepr: bytes, *own: bytes
    ) -> bytes:
        """Flags and values of the content header with the fields of one call; ValueError for an id that is too long.

        The values of the sender's own headers are in the order in which of() was given their names.
        """
        correlation_id = encode_short_string(task_id)
        values = (correlation_id[1:], expires, argsrepr, kwargsrepr, *own)
        fields = [_SIZE.pack(len(field)) + field for field in values]
        table = self.table % tuple([fields[place] for place in self.places])
        headers = _SIZE.pack(len(table)) + table
        per_call = correlation_id + self.reply_to + encode_short_string(expiration)
        return self.start + headers + self.middle + per_call + self.end


def _table(headers: dict[str, Any], fields: dict[str, int]) -> tuple[bytes, tuple[int, ...]]:
    """The entries of a field table with %b for each field of a call, and the places of those fields."""
    table, places = b"", []
    for key, value in headers.items():
        if key in fields:
            # A long string without its length and text, which fill() adds.
            table += dumps("F", ({key: ""},))[4:-4] + b"%b"
            places.append(fields[key])
        else:
            table += dumps("F", ({key: value},))[4:].replace(b"%", b"%%")
    return table, tuple(places)
