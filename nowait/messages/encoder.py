"""Makes task messages: the same that `Celery.send_task` publishes, for a fraction of its cost.

The first message of a kind is made by Celery itself and recorded instead of sent, so routes,
defaults and protocol are Celery's own (celery/app/amqp.py, message protocol 2:
https://docs.celeryq.dev/en/stable/internals/protocol.html). Its properties are kept encoded, and
only the fields that differ from call to call are spliced in afterwards. Where Celery has to look
at each message (a routing function, a receiver of its signals, an ETA), it makes each one.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from struct import pack
from typing import Any

from amqp.serialization import dumps
from celery import Celery, signals
from celery.app.backends import by_url
from celery.app.routes import MapRoute
from celery.backends.base import DisabledBackend
from celery.backends.rpc import RPCBackend
from celery.utils.saferepr import saferepr
from kombu import Producer
from kombu.utils.json import JSONEncoder

from nowait.deadline import seconds_until, to_expiration, to_expires
from nowait.messages.reply import Request

Args = list[Any] | tuple[Any, ...] | None
Kwargs = dict[str, Any] | None

# What Celery.send_task knows and a bridge cannot honour, with the reason.
_UNSUPPORTED = {
    "producer": "the bridge has its own connection",
    "publisher": "the bridge has its own connection",
    "connection": "the bridge has its own connection",
    "router": "the application's router is used",
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
# Celery writes these options into the task's headers, and then hands them to the producer too,
# which drops them.
_ONLY_IN_HEADERS = {"argsrepr", "kwargsrepr", "origin", "now", "timezone"}

_MAX_TEMPLATES = 1000
_PLACE = "00000000-0000-4000-8000-000000000000"  # stands for the task's id in a template


class RequestEncoder:
    """Makes the messages of one application.

    Args:
        app: the Celery application whose routes and defaults count.
        reply_to: the queue that the replies go to.

    Raises ValueError when the application's results do not come as replies: its backend has to be
    `rpc://` or none.
    """

    def __init__(self, app: Celery, reply_to: str) -> None:
        backend: Any = by_url(app.conf.result_backend, app.loader)
        if not issubclass(backend[0], (RPCBackend, DisabledBackend)):
            # Other backends open connections of their own whenever a task is sent, too.
            raise ValueError("the bridge awaits replies: an application with the result backend rpc:// is expected")
        self._app = app
        self._reply_to = reply_to
        self._templates: dict[Any, _Template] = {}
        self._json = JSONEncoder()
        # Celery's own signals; what listens to them sees, and may change, each message.
        self._signals = (signals.before_task_publish, signals.after_task_publish, signals.task_sent)

    @property
    def reply_to(self) -> str:
        """The queue that the replies go to."""
        return self._reply_to

    @reply_to.setter
    def reply_to(self, queue: str) -> None:
        if queue != self._reply_to:
            self._reply_to = queue
            self._templates.clear()

    def encode(
        self,
        name: str,
        args: Args,
        kwargs: Kwargs,
        *,
        task_id: str,
        timeout: float,
        now: datetime,
        options: dict[str, Any],
    ) -> Request:
        """The message that `app.send_task(name, args, kwargs, **options)` publishes.

        Args:
            name: the task's name.
            args: positional arguments; None for none.
            kwargs: keyword arguments; None for none.
            task_id: the id of task and call.
            timeout: seconds after which nobody waits any more; it becomes the message's
                expiration and the task's `expires`, unless the options have an earlier one.
            now: the time, in any time zone.
            options: further options of `Celery.send_task`.

        Raises:
            TypeError: an option that the bridge cannot honour, or arguments JSON cannot carry.
        """
        template = self._template(name, options)
        if template is None:
            return _encode(self._record(name, args, kwargs, task_id, timeout, now, options))
        args, kwargs = args or (), kwargs or {}
        if not isinstance(args, (list, tuple)) or not isinstance(kwargs, dict):
            raise TypeError("send_task: args must be a list or tuple, kwargs a dict")
        try:
            body = f"[{self._json.encode(args)}, {self._json.encode(kwargs)}, {template.embed}]"
        except (TypeError, ValueError) as error:
            raise TypeError(f"send_task: {name} cannot be encoded: {error}") from error
        properties = template.fill(
            task_id.encode(),
            to_expires(timeout, now.astimezone(self._app.timezone)).encode(),
            to_expiration(timeout).encode(),
            self._repr(args).encode("utf-8", "surrogatepass"),
            self._repr(kwargs).encode("utf-8", "surrogatepass"),
        )
        return Request(task_id, template.exchange, template.routing_key, properties, body.encode(), template.replies)

    def _template(self, name: str, options: dict[str, Any]) -> "_Template | None":
        """The template for tasks of that name and options; None where Celery must see each."""
        if any(signal.receivers for signal in self._signals):
            return None
        try:
            key = (name, *options.items())
            template = self._templates.get(key)
        except TypeError:  # an option that cannot be hashed
            return None
        if template is None:
            routes: list[Any] = self._app.amqp.routes
            if not _VARYING.isdisjoint(options) or not all(type(route) is MapRoute for route in routes):
                return None
            recorded = self._record(name, (), {}, _PLACE, 1.0, None, options)
            if len(self._templates) >= _MAX_TEMPLATES:
                self._templates.clear()
            template = self._templates[key] = _Template.of(recorded)
        return template

    def _record(
        self,
        name: str,
        args: Args,
        kwargs: Kwargs,
        task_id: str,
        timeout: float,
        now: datetime | None,
        options: dict[str, Any],
    ) -> "_Recorded":
        """Let Celery make the message."""
        for option in options:
            if option in _UNSUPPORTED:
                raise TypeError(f"send_task: {option} is not supported: {_UNSUPPORTED[option]}")
        if options.get("serializer", "json") != "json" or options.get("compression"):
            raise TypeError("send_task: only the serializer json without compression is supported")
        recorder: Any = _Recorder()
        producer = Producer(recorder, serializer="json", auto_declare=False)
        expires = options.get("expires")
        merged = {"add_to_parent": False, **options, "serializer": "json"}
        merged["expires"] = timeout
        if expires is not None and now is not None:
            merged["expires"] = min(timeout, max(0.0, seconds_until(expires, now.astimezone(self._app.timezone))))
        try:
            self._app.send_task(
                name,
                args,
                kwargs,
                task_id=task_id,
                reply_to=self._reply_to,
                producer=producer,
                retry=False,
                declare=(),
                **merged,
            )
        except Exception as error:
            # kombu wraps what json raises (kombu.exceptions.EncodeError): the arguments are at fault.
            raise TypeError(f"send_task: {name} cannot be encoded: {error}") from error
        recorded: _Recorded = recorder.published
        recorded.replies = not options.get("ignore_result")
        return recorded

    def _repr(self, value: Any) -> str:
        """What Celery writes into argsrepr and kwargsrepr."""
        if not value:
            return "()" if type(value) is tuple else "[]" if type(value) is list else "{}"
        limit = self._app.amqp.argsrepr_maxsize
        if type(value) is list and len(value) < 20:
            parts = []
            for item in value:
                if type(item) is str and len(item) <= 100:
                    parts.append("'" + item.replace("'", "\\'") + "'")
                elif type(item) is int or type(item) is float or item is None or type(item) is bool:
                    parts.append(repr(item))
                else:
                    break
            else:
                short = f"[{', '.join(parts)}]"
                if len(short) < limit:
                    return short
        return str(saferepr(value, limit, maxlevels=self._app.conf.task_repr_maxlevels))


# Options whose message differs from call to call, for all that their value is the same.
_VARYING = {"countdown", "eta", "expires", "argsrepr", "kwargsrepr", "root_id", "headers", "now", "origin"}


@dataclass
class _Recorded:
    """A message that Celery would have published."""

    body: bytes
    properties: dict[str, Any]
    exchange: str
    routing_key: str
    replies: bool = True


class _Recorder:
    """Stands where kombu expects a channel; keeps the one message that is published on it."""

    def __init__(self) -> None:
        self.connection = self
        self.client = self
        self.published: _Recorded | None = None

    def ensure(self, *_: Any, **__: Any) -> Callable[..., None]:
        # The backend rpc:// declares its own reply queue through this; the bridge has another.
        return lambda *_, **__: None

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
    ) -> tuple[bytes, dict[str, Any]]:
        given = {
            "priority": priority,
            "content_type": content_type,
            "content_encoding": content_encoding,
            "headers": headers,
        }
        return body if isinstance(body, bytes) else body.encode(), {**given, **properties}

    def basic_publish(
        self, message: tuple[bytes, dict[str, Any]], exchange: str, routing_key: str, **_: Any
    ) -> None:
        # With task_send_sent_event, Celery publishes an event behind the task: nobody's message.
        self.published = self.published or _Recorded(*message, exchange, routing_key)


@dataclass(frozen=True)
class _Template:
    """The properties of a kind of message, encoded but for the fields of each call.

    Attributes:
        exchange: as in Request.
        routing_key: as in Request.
        replies: as in Request.
        embed: the third part of the body, as JSON.
        start: the flags, content type and encoding.
        table: the headers: encoded entries, and numbers of fields where those belong.
        middle: delivery mode and priority.
        reply_to: the reply queue.
        end: what comes behind the expiration.
    """

    exchange: str
    routing_key: str
    replies: bool
    embed: str
    start: bytes
    table: tuple[bytes | int, ...]
    middle: bytes
    reply_to: bytes
    end: bytes

    @classmethod
    def of(cls, recorded: _Recorded) -> "_Template":
        """The template of a message that was made for the task id _PLACE, without arguments."""
        properties = recorded.properties
        _check(properties)
        headers = properties["headers"]
        fields = {"id": 0, "root_id": 0, "expires": 1, "argsrepr": 2, "kwargsrepr": 3}
        table: list[bytes | int] = []
        run = b""
        for key, value in headers.items():
            if key in fields:
                # A long string without its length and text, which fill() adds.
                run += dumps("F", ({key: ""},))[4:-4]
                table += [run, fields[key]]
                run = b""
            else:
                run += dumps("F", ({key: value},))[4:]
        table.append(run)
        assert properties["correlation_id"] == headers["id"] == headers["root_id"] == _PLACE
        args, kwargs, embed = json.loads(recorded.body)
        assert (args, kwargs) == ([], {})
        before, _, behind = recorded.body.decode().partition("[[], {}, ")
        assert not before and json.loads(behind[:-1]) == embed
        return cls(
            exchange=recorded.exchange,
            routing_key=recorded.routing_key,
            replies=recorded.replies,
            embed=behind[:-1],
            start=_flags(properties) + _values(properties, "content_type", "content_encoding"),
            table=tuple(table),
            middle=_values(properties, "delivery_mode", "priority"),
            reply_to=_values(properties, "reply_to"),
            end=_values(properties, "message_id", "timestamp", "type", "user_id", "app_id", "cluster_id"),
        )

    def fill(self, task_id: bytes, expires: bytes, expiration: bytes, argsrepr: bytes, kwargsrepr: bytes) -> bytes:
        """Flags and values of the content header with the fields of one call."""
        if len(task_id) > 255:
            raise ValueError("a task id has at most 255 bytes")
        fields = [pack(">I", len(field)) + field for field in (task_id, expires, argsrepr, kwargsrepr)]
        table = b"".join([fields[part] if isinstance(part, int) else part for part in self.table])
        return b"".join(
            (
                self.start,
                pack(">I", len(table)),
                table,
                self.middle,
                bytes((len(task_id),)),
                task_id,
                self.reply_to,
                bytes((len(expiration),)),
                expiration,
                self.end,
            )
        )


def _encode(recorded: _Recorded) -> Request:
    _check(recorded.properties)
    return Request(
        str(recorded.properties["correlation_id"]),
        recorded.exchange,
        recorded.routing_key,
        _flags(recorded.properties) + _values(recorded.properties, *_PROPERTIES),
        recorded.body,
        recorded.replies,
    )


def _check(properties: dict[str, Any]) -> None:
    """Raise TypeError for a property that AMQP does not have."""
    unknown = properties.keys() - _PROPERTIES.keys() - _ONLY_IN_HEADERS
    if unknown:
        raise TypeError(f"send_task: unknown options: {', '.join(sorted(unknown))}")


def _flags(properties: dict[str, Any]) -> bytes:
    """Which properties are there (AMQP 0-9-1, 4.2.6.1)."""
    there = (1 << (15 - bit) for bit, name in enumerate(_PROPERTIES) if properties.get(name) is not None)
    return pack(">H", sum(there))


def _values(properties: dict[str, Any], *names: str) -> bytes:
    """The values of those of the named properties that are there, encoded."""
    there = [name for name in names if properties.get(name) is not None]
    # Bytes of several properties are not packed together: none of their types is a bit.
    return bytes(dumps("".join(_PROPERTIES[name] for name in there), tuple(properties[name] for name in there)))
