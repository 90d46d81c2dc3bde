"""A task message, ready to be framed."""

from typing import NamedTuple


class TaskMessage(NamedTuple):
    """A message of a task.

    Attributes:
        exchange: the exchange to publish to, "" for the default one.
        routing_key: the routing key, with the default exchange the queue's name.
        properties: flags and values of its properties, encoded.
        body: the serialised body.
    """

    exchange: str
    routing_key: str
    properties: bytes
    body: bytes
