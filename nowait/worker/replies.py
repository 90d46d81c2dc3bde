"""Replies as the result backend `rpc://` sends them (celery/backends/rpc.py): form and content. No I/O."""

import json
from typing import Any, NamedTuple

import amqp
from amqp.serialization import dumps
from kombu.utils.json import JSONEncoder

from nowait.amqp import properties
from nowait.messages.encoded import Encoded
from nowait.messages.limits import MAX_REPLY
from nowait.messages.reply import REJECTED, RESULT_AT
from nowait.topology import Topology

MAX_ERROR_TEXT = 1000  # characters of an exception's text that travel

_encode = JSONEncoder(allow_nan=False).encode


class Body(NamedTuple):
    """The body of a reply.

    Attributes:
        text: JSON.
        result_at: the result begins at that byte, and ends before the last one; 0 where that is not known.
    """

    text: bytes
    result_at: int = 0

    @property
    def headers(self) -> dict[str, Any] | None:
        """The application headers of its message; None for none."""
        return {RESULT_AT: self.result_at} if self.result_at else None


def reply_message(body: Body, correlation_id: str, topology: Topology, persistent: bool = False) -> amqp.Message:
    """The message of a reply."""
    return amqp.Message(
        body.text,
        application_headers=body.headers,
        content_type="application/json",
        content_encoding="utf-8",
        correlation_id=correlation_id,
        delivery_mode=2 if persistent else 1,
        **topology.sender_properties(),
    )


class ReplyProperties:
    """The same message's properties, encoded, but for the correlation id.

    Args:
        topology: whose replies they are.
        persistent: they outlive a broker that restarts.
    """

    def __init__(self, topology: Topology, persistent: bool) -> None:
        fixed: dict[str, Any] = {
            "content_type": "application/json",
            "content_encoding": "utf-8",
            "delivery_mode": 2 if persistent else 1,
            **topology.sender_properties(),
        }
        self._content = properties.values(fixed, "content_type", "content_encoding")
        self._mode = properties.values(fixed, "delivery_mode")
        self._end = properties.values(fixed, "user_id")
        self._flags = properties.flags({**fixed, "correlation_id": ""})
        self._all_flags = properties.flags({**fixed, "correlation_id": "", "headers": b""})

    def encoded(self, correlation_id: str, body: Body) -> bytes:
        """All of them, for a reply with that body. Raises ValueError for an id of more than 255 bytes."""
        end = self._mode + properties.encode_short_string(correlation_id) + self._end
        if not body.result_at:
            return self._flags + self._content + end
        return self._all_flags + self._content + bytes(dumps("F", (body.headers,))) + end


def encode_reply(document: dict[str, Any]) -> Body:
    """The body of a reply; that of a failure, when there is no JSON for `document` or it is too long."""
    result = document["result"]
    try:
        if isinstance(result, Encoded):
            start = _encode({name: value for name, value in document.items() if name != "result"})
            start = start[:-1] + ', "result": '
            body = Body(b"".join((start.encode(), *result.parts, b"}")), result_at=len(start.encode()))
        else:
            body = Body(_encode(document).encode())
    except (TypeError, ValueError, RecursionError) as error:
        return _encode_failure(document, describe_failure("ResultNotSerializable", str(error)))
    if len(body.text) > MAX_REPLY:
        # The limit travels as data: it is passed on to clients, which a worker's texts are not.
        return _encode_failure(document, {**describe_failure("ResultTooLarge"), "exc_message": [MAX_REPLY, "bytes"]})
    return body


def encode_rejection(task_id: str, failure: dict[str, Any]) -> Body:
    """The body of the reply to a message that is not run.

    Its state is FAILURE: Celery does not count REJECTED among the final ones, and `AsyncResult.get` would wait on.
    """
    return _encode_failure({"task_id": task_id, REJECTED: True}, failure)


def describe_failure(kind: str, text: str = "") -> dict[str, Any]:
    """What is sent in place of an exception, where there is none.

    Args:
        kind: the name that `AsyncResult.get` gives the class of the exception that it raises.
        text: why.
    """
    # In this module Celery finds its own NotRegistered, and makes a class of any other name.
    return {"exc_type": kind, "exc_message": [text[:MAX_ERROR_TEXT]], "exc_module": "celery.exceptions"}


def _encode_failure(document: dict[str, Any], failure: dict[str, Any]) -> Body:
    whole = {**document, "status": "FAILURE", "result": failure, "traceback": None, "children": []}
    return Body(json.dumps(whole).encode())


def describe_exception(error: BaseException, description: dict[str, Any]) -> dict[str, Any]:
    """What may be sent of an exception: its type, and a bounded text where that is the task's own.

    The texts of databases hold SQL and values: those of PEP 249's errors, and of what wraps one or a
    statement (SQLAlchemy), stay in the worker's log.

    Args:
        error: the exception.
        description: what Celery would send of it: `exc_type`, `exc_message`, `exc_module`.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"DatabaseError", "InterfaceError"} or hasattr(error, "orig") or hasattr(error, "statement"):
        return {**description, "exc_message": []}
    message = description["exc_message"]
    text = " ".join(map(str, message))
    return description if len(text) <= MAX_ERROR_TEXT else {**description, "exc_message": [text[:MAX_ERROR_TEXT]]}
