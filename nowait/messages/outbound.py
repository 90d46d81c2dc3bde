"""A message, ready to be framed."""

from typing import NamedTuple


class OutboundMessage(NamedTuple):
    """A message, a task's or a reply."""

    exchange: str  # "" for the default one
    routing_key: str  # with the default exchange, the queue's name
    properties: bytes  # their flags and values, encoded
    body: bytes  # serialised
