"""The messages of the bridge in their wire form: pure functions, no I/O.

Requests are what `Celery.send_task` itself publishes, recorded instead of sent, so routes,
defaults, protocol and signals are Celery's own (celery/app/amqp.py, message protocol 2:
https://docs.celeryq.dev/en/stable/internals/protocol.html). Replies are what the `rpc://` result
backend sends (celery/backends/rpc.py).
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from struct import pack
from typing import Any

from amqp.serialization import dumps
from celery import Celery
from celery.utils.time import maybe_iso8601
from kombu import Producer

# Only these states end a call; all others (STARTED, RETRY, a task's own) are progress.
FINAL_STATES = frozenset({"SUCCESS", "FAILURE", "REVOKED", "REJECTED"})

# What Celery.send_task knows and a bridge cannot honour, with the reason.
_UNSUPPORTED = {
    "producer": "the bridge has its own connection",
    "publisher": "the bridge has its own connection",
    "connection": "the bridge has its own connection",
    "reply_to": "the bridge has its own reply queue",
    "result_cls": "the call itself is the result",
    "retry": "the bridge never blocks on a retry",
    "retry_policy": "the bridge never blocks on a retry",
    "declare": "queues are declared by the workers",
    "confirm_timeout": "the call's deadline bounds the confirm",
    "event_dispatcher": "the bridge sends no events",
    "immediate": "RabbitMQ does not support it",
    "mandatory": "it is always on",
    "expiration": "timeout sets it",
}

# The properties of the class basic, in the order of their flags (AMQP 0-9-1, 1.8), with the codes
# that amqp.serialization.dumps has for their types.
_PROPERTIES = {
    "content_type": "s",
    "content_encoding": "s",
    "headers": "F",
    "delivery_mode": "o",
    "priority": "o",
    "correlation_id": "s",
    "reply_to": "s",
    "expiration": "s",
    "message_id": "s",
    "timestamp": "L",
    "type": "s",
    "user_id": "s",
    "app_id": "s",
    "cluster_id": "s",
}
# Celery writes these options into the task's headers, and then hands them to the producer too.
_ONLY_IN_HEADERS = {"argsrepr", "kwargsrepr", "origin"}


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
    """

    state: str
    result: Any

    @property
    def final(self) -> bool:
        """True when no other reply decides the call."""
        return self.state in FINAL_STATES

    def failure(self) -> tuple[str, str]:
        """The name of the exception's type and its text, as data; "" where there is none."""
        if not isinstance(self.result, Mapping):
            return "", str(self.result)
        text = self.result.get("exc_message", "")
        if isinstance(text, (list, tuple)):
            text = " ".join(str(part) for part in text)
        return str(self.result.get("exc_type", "")), str(text)


class MalformedReply(ValueError):
    """A message in the reply queue that is no reply."""


class _Recorder:
    """Stands where kombu expects a channel; keeps the one message that is published on it."""

    def __init__(self) -> None:
        self.connection = self
        self.client = self
        self.published: tuple[dict[str, Any], str, str] | None = None

    @contextlib.contextmanager
    def _reraise_as_library_errors(self) -> Iterator[None]:
        yield

    def prepare_message(
        self,
        body: str | bytes,
        priority: int | None,
        content_type: str,
        content_encoding: str,
        headers: dict[str, Any],
        properties: dict[str, Any],
    ) -> dict[str, Any]:
        return {
            "body": body if isinstance(body, bytes) else body.encode(),
            "priority": priority,
            "content_type": content_type,
            "content_encoding": content_encoding,
            "headers": headers,
            **properties,
        }

    def basic_publish(self, message: dict[str, Any], exchange: str, routing_key: str, **_: Any) -> None:
        self.published = (message, exchange, routing_key)


def encode_request(
    app: Celery,
    name: str,
    args: list[Any] | tuple[Any, ...] | None,
    kwargs: dict[str, Any] | None,
    *,
    task_id: str,
    reply_to: str,
    timeout: float,
    options: Mapping[str, Any],
) -> Request:
    """The message that `app.send_task(name, args, kwargs, **options)` publishes.

    Args:
        app: the Celery application whose routes and defaults count.
        name: the task's name.
        args: positional arguments; None for none.
        kwargs: keyword arguments; None for none.
        task_id: the id of task and call.
        reply_to: the queue that the replies go to.
        timeout: seconds after which nobody waits any more; it becomes the message's expiration
            and the task's `expires`, unless the options have an earlier one.
        options: further options of `Celery.send_task`.

    Raises:
        TypeError: an option that the bridge cannot honour, or arguments JSON cannot carry.
    """
    for option in options:
        if option in _UNSUPPORTED:
            raise TypeError(f"send_task: {option} is not supported: {_UNSUPPORTED[option]}")
    if options.get("serializer", "json") != "json" or options.get("compression"):
        raise TypeError("send_task: only the serializer json without compression is supported")
    recorder: Any = _Recorder()
    producer = Producer(recorder, serializer="json", auto_declare=False)
    expires = options.get("expires")
    merged = {"add_to_parent": False, **options, "serializer": "json"}
    merged["expires"] = timeout if expires is None else min(timeout, max(0.0, _seconds_until(app, expires)))
    try:
        app.send_task(
            name,
            args,
            kwargs,
            task_id=task_id,
            reply_to=reply_to,
            producer=producer,
            retry=False,
            declare=(),
            **merged,
        )
    except Exception as error:
        # kombu wraps what json raises (kombu.exceptions.EncodeError): the arguments are at fault.
        raise TypeError(f"send_task: {name} cannot be encoded: {error}") from error
    message, exchange, routing_key = recorder.published
    body = message.pop("body")
    return Request(task_id, exchange, routing_key, _encode_properties(message), body, not options.get("ignore_result"))


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
    return Reply(document["status"], document.get("result"))


def _encode_properties(properties: dict[str, Any]) -> bytes:
    """Flags and values of a content header (AMQP 0-9-1, 4.2.6.1).

    Raises TypeError for a property that AMQP does not have.
    """
    unknown = properties.keys() - _PROPERTIES.keys() - _ONLY_IN_HEADERS
    if unknown:
        raise TypeError(f"send_task: unknown options: {', '.join(sorted(unknown))}")
    flags, formats, values = 0, "", []
    for bit, (name, code) in enumerate(_PROPERTIES.items()):
        value = properties.get(name)
        if value is not None:
            flags |= 1 << (15 - bit)
            formats += code
            values.append(value)
    return pack(">H", flags) + bytes(dumps(formats, tuple(values)))


def _seconds_until(app: Celery, expires: float | datetime | str) -> float:
    if isinstance(expires, (int, float)):
        return float(expires)
    moment: Any = maybe_iso8601(expires)
    now = app.now()
    return float(((moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)) - now).total_seconds())
