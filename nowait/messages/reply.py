"""The messages of the bridge: a request ready for the wire, a reply read from it. No I/O.

Replies are what the `rpc://` result backend sends (celery/backends/rpc.py).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Only these states end a call; all others (STARTED, RETRY, a task's own) are progress.
FINAL_STATES = frozenset({"SUCCESS", "FAILURE", "REVOKED", "REJECTED"})


@dataclass(frozen=True)
class Request:
    """A task message, ready to be framed.

    Attributes:
        task_id: the call's id, also the correlation id of its replies.
        exchange: the exchange to publish to, "" for the default one.
        routing_key: the routing key, with the default exchange the queue's name.
        properties: the payload of the content header frame after the body size.
        body: the serialised body.
        replies: False when the task was told to ignore its result: no reply ever comes.
    """

    task_id: str
    exchange: str
    routing_key: str
    properties: bytes
    body: bytes
    replies: bool


@dataclass(frozen=True)
class Reply:
    """One reply of a worker.

    Attributes:
        state: the task's state.
        result: what the task returned, for SUCCESS; whatever the worker sent, otherwise.
        run: seconds that the task ran; None when the worker does not say.
    """

    state: str
    result: Any
    run: float | None = None

    @property
    def final(self) -> bool:
        """True when no other reply decides the call."""
        return self.state in FINAL_STATES

    @property
    def expired(self) -> bool:
        """True when a worker did not begin the task, as nobody would have waited for it."""
        return self.state == "REVOKED" and self.failure() == ("TaskRevokedError", "expired")

    def failure(self) -> tuple[str, str]:
        """The name of the exception's type and its text, as data; "" where there is none."""
        if not isinstance(self.result, Mapping):
            return "", str(self.result)
        text = self.result.get("exc_message", "")
        if isinstance(text, (list, tuple)):
            text = " ".join(str(part) for part in text)
        return str(self.result.get("exc_type", "")), str(text)


def canary(call_id: str, exchange: str, queue: str) -> Request:
    """A message to a queue of one's own: transient, of no use after ten seconds."""
    correlation_id, expiration = call_id.encode(), b"10000"
    flags = 1 << 12 | 1 << 10 | 1 << 8  # delivery mode, correlation id, expiration
    properties = b"".join(
        (
            flags.to_bytes(2, "big"),
            b"\x01",
            bytes((len(correlation_id),)),
            correlation_id,
            bytes((len(expiration),)),
            expiration,
        )
    )
    return Request(call_id, exchange, queue, properties, b"", replies=False)


class MalformedReply(ValueError):
    """A message in the reply queue that is no reply."""


def decode_reply(body: bytes, content_type: str) -> Reply:
    """Read one reply. Nothing in it is turned into anything but JSON values.

    Raises MalformedReply when it is not JSON or not of the backend's shape.
    """
    if content_type != "application/json":
        raise MalformedReply(f"content type {content_type[:40]!r}")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedReply("not JSON") from error
    if not isinstance(document, dict) or not isinstance(document.get("status"), str):
        raise MalformedReply("no status")
    run = document.get("run")
    return Reply(document["status"], document.get("result"), run if isinstance(run, float) else None)
