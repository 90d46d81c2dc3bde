"""A task message, ready to be framed."""

from typing import NamedTuple


class TaskMessage(NamedTuple):
    """A message of a task."""

    exchange: str  # "" for the default one
    routing_key: str  # with the default exchange, the queue's name
    properties: bytes  # their flags and values, encoded
    body: bytes  # serialised
