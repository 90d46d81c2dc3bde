"""Makes task messages: the same that `Celery.send_task` publishes, for a fraction of its cost.

The first message of a kind is made by Celery itself and captured instead of sent, so routes, defaults and protocol are
Celery's own (celery/app/amqp.py, message protocol 2: https://docs.celeryq.dev/en/stable/internals/protocol.html). Its
properties are kept encoded, and only the fields that differ from call to call are spliced in afterwards. Where Celery
has to look at each message (a routing function, a receiver of its signals, an ETA), it makes each one.
"""

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from celery import Celery, signals
from celery.app.backends import by_url
from celery.app.routes import MapRoute
from celery.backends.base import DisabledBackend
from celery.backends.rpc import RPCBackend
from celery.utils.saferepr import saferepr
from kombu import Producer
from kombu.utils.json import JSONEncoder

from nowait.amqp import properties
from nowait.deadline import seconds_until, to_expiration, to_expires
from nowait.messages.outbound import OutboundMessage
from nowait.messages.template import PLACEHOLDER_ID, CapturedMessage, Template

Args = list[Any] | tuple[Any, ...] | None
Kwargs = dict[str, Any] | None
Options = dict[str, Any]

# What Celery.send_task knows and a bridge cannot honour, with the reason.
_UNSUPPORTED = {
    **dict.fromkeys(("producer", "publisher", "connection"), "the bridge has its own connection"),
    "router": "the application's router is used",
    "reply_to": "the bridge has its own reply queue",
    "result_cls": "the call itself is the result",
    **dict.fromkeys(("retry", "retry_policy"), "the bridge never blocks on a retry"),
    "declare": "queues are declared by the workers",
    "confirm_timeout": "the call's deadline bounds the confirm",
    "event_dispatcher": "the bridge sends no events",
    "immediate": "RabbitMQ does not support it",
    "mandatory": "it is always on",
    "expiration": "timeout sets it",
}

# Celery writes these options into the task's headers, and then hands them to the producer too, which drops them.
_ONLY_IN_HEADERS = {"argsrepr", "kwargsrepr", "origin", "now", "timezone"}

# Options whose message differs from call to call, for all that their value is the same.
_UNCACHEABLE_OPTIONS = {"countdown", "eta", "expires", "argsrepr", "kwargsrepr", "root_id", "headers", "now", "origin"}

# Headers whose values are spliced in: https://www.w3.org/TR/trace-context/ has a new one for each call.
_SPLICED = frozenset({"traceparent", "tracestate"})

_MAX_TEMPLATES = 1000

# What listens to these sees, and may change, each message.
_SIGNALS = (signals.before_task_publish, signals.after_task_publish, signals.task_sent)


class TaskEncoder:
    """Makes the messages of one application.

    Args:
        app: the Celery application whose routes and defaults count.
        reply_to: the queue that the replies go to; an attribute, which may change.

    Raises ValueError when the application's results do not come as replies: its backend has to be `rpc://` or none.
    """

    def __init__(self, app: Celery, reply_to: str) -> None:
        backend: Any = by_url(app.conf.result_backend, app.loader)
        if not issubclass(backend[0], (RPCBackend, DisabledBackend)):
            # Other backends open connections of their own whenever a task is sent, too.
            raise ValueError("the bridge awaits replies: an application with the result backend rpc:// is expected")
        self.reply_to = reply_to
        self._app = app
        self._amqp = app.amqp
        self._timezone = app.timezone
        self._templates: dict[Any, Template | None] = {}
        self._json = JSONEncoder()

    def encode(
        self, name: str, args: Args, kwargs: Kwargs, *, task_id: str, timeout: float, now: datetime, options: Options
    ) -> OutboundMessage:
        """The message that `app.send_task(name, args, kwargs, **options)` publishes.

        Args:
            name: the task's name.
            args, kwargs: positional and keyword arguments; None for none.
            task_id: the id of task and call.
            timeout: seconds after which nobody waits any more; it becomes the message's
                expiration and the task's `expires`, unless the options have an earlier one.
            now: the time, in any time zone.
            options: further options of `Celery.send_task`.

        Raises:
            TypeError: an option that the bridge cannot honour, or arguments JSON cannot carry.
        """
        own = _spliced(options)
        template = self._template(name, options, own)
        if template is None:
            if (expires := options.get("expires")) is not None:
                timeout = min(timeout, max(0.0, seconds_until(expires, now.astimezone(self._timezone))))
            return self._capture(name, args, kwargs, task_id, timeout, options).encode()
        args, kwargs = args or (), kwargs or {}
        if not isinstance(args, (list, tuple)) or not isinstance(kwargs, dict):
            raise TypeError("send_task: args must be a list or tuple, kwargs a dict")
        try:
            body = f"{self._json.encode((args, kwargs))[:-1]}, {template.embed}]"
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(f"send_task: {name} cannot be encoded: {error}") from error
        filled = template.fill(
            task_id,
            to_expires(timeout, now.astimezone(self._timezone)).encode(),
            to_expiration(timeout),
            self._repr(args).encode("utf-8", "surrogatepass"),
            self._repr(kwargs).encode("utf-8", "surrogatepass"),
            *[value.encode("utf-8", "surrogatepass") for value in own.values()],
        )
        return OutboundMessage(template.exchange, template.routing_key, filled, body.encode())

    def _template(self, name: str, options: Options, own: dict[str, str]) -> Template | None:
        """The template for tasks of that name and options, headers apart; None where Celery must see each.

        Args:
            own: the headers, where their values are spliced in.
        """
        for signal in _SIGNALS:
            if signal.receivers:
                return None
        if own:
            options = {option: value for option, value in options.items() if option != "headers"}
        try:
            key = (name, self.reply_to, *own, *options.items())
            return self._templates[key]
        except TypeError:  # an option that cannot be hashed
            return None
        except KeyError:
            pass
        routes: list[Any] = self._amqp.routes
        if not _UNCACHEABLE_OPTIONS.isdisjoint(options) or not all(type(route) is MapRoute for route in routes):
            return None
        with_own = {**options, "headers": dict.fromkeys(own, "")} if own else options
        captured = self._capture(name, (), {}, PLACEHOLDER_ID, 1.0, with_own)
        if len(self._templates) >= _MAX_TEMPLATES:
            self._templates.clear()
        template = self._templates[key] = Template.of(captured, tuple(own))
        return template

    def _capture(
        self, name: str, args: Args, kwargs: Kwargs, task_id: str, timeout: float, options: Options
    ) -> CapturedMessage:
        """Let Celery make the message."""
        for option in options.keys() & _UNSUPPORTED.keys():
            raise TypeError(f"send_task: {option} is not supported: {_UNSUPPORTED[option]}")
        if options.get("serializer", "json") != "json" or options.get("compression"):
            raise TypeError("send_task: only the serializer json without compression is supported")
        channel: Any = _CapturingChannel()
        producer = Producer(channel, serializer="json", auto_declare=False)
        merged = {"add_to_parent": False, **options, "serializer": "json", "expires": timeout}
        fixed: dict[str, Any] = {"reply_to": self.reply_to, "producer": producer, "retry": False, "declare": ()}
        try:
            self._app.send_task(name, args, kwargs, task_id=task_id, **fixed, **merged)
        except Exception as error:
            # kombu wraps what json raises (kombu.exceptions.EncodeError): the arguments are at fault.
            raise TypeError(f"send_task: {name} cannot be encoded: {error}") from error
        captured: CapturedMessage = channel.published
        unknown = captured.properties.keys() - properties.NAMES - _ONLY_IN_HEADERS
        if unknown:
            raise TypeError(f"send_task: unknown options: {', '.join(sorted(unknown))}")
        return captured

    def _repr(self, value: Any) -> str:
        """What Celery writes into argsrepr and kwargsrepr."""
        if not value:
            return "()" if type(value) is tuple else "[]" if type(value) is list else "{}"
        limit = self._amqp.argsrepr_maxsize
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


def _spliced(options: Options) -> dict[str, str]:
    """The headers of the options, where all of them are to be spliced in; empty otherwise."""
    headers = options.get("headers")
    if type(headers) is not dict or not headers.keys() <= _SPLICED:
        return {}
    return headers if all(type(value) is str for value in headers.values()) else {}


class _CapturingChannel:
    """Stands where kombu expects a channel; keeps the one message that is published on it."""

    def __init__(self) -> None:
        self.connection = self
        self.client = self
        self.published: CapturedMessage | None = None

    def ensure(self, *_: Any, **__: Any) -> Callable[..., None]:
        # The backend rpc:// declares its own reply queue through this; the bridge has another.
        return lambda *_, **__: None

    @contextlib.contextmanager
    def _reraise_as_library_errors(self) -> Iterator[None]:
        yield

    def prepare_message(
        self, body: str | bytes, priority: Any, content_type: Any, content_encoding: Any, headers: Any, others: Any
    ) -> tuple[bytes, dict[str, Any]]:
        given = {"content_type": content_type, "content_encoding": content_encoding, "headers": headers}
        return body if isinstance(body, bytes) else body.encode(), {**given, "priority": priority, **others}

    def basic_publish(self, message: tuple[bytes, dict[str, Any]], exchange: str, routing_key: str, **_: Any) -> None:
        # With task_send_sent_event, Celery publishes an event behind the task: nobody's message.
        self.published = self.published or CapturedMessage(*message, exchange, routing_key)
