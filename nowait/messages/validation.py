"""Is a message a task that this worker may run? Decided before Celery reads it. No I/O.

Celery trusts what it receives: a misshapen header stops the worker, which hands the message to the next one; a body may
name other tasks to send. The forms are those of message protocols 2 and 1,
https://docs.celeryq.dev/en/stable/internals/protocol.html.
"""

from collections.abc import Callable, Container, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from inspect import signature
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from celery.app.task import Context, Task
from celery.canvas import Signature

from nowait.deadline import parse_moment
from nowait.messages.limits import MAX_SHORT_STRING, MAX_TASK_BODY

Check = Callable[[Any], bool]

JSON = "application/json"
_UTF8 = ("utf-8", "utf8")
_FIRST, _LAST = datetime.min + timedelta(days=1), datetime.max - timedelta(days=1)
_MAX_DEPTH = 8  # of lists and objects in the value of a stamp
# When a stamped task is tried again, Celery makes an option of each stamp, and drops it before it publishes: none may
# have the name of an option that is read earlier.
_OPTIONS = frozenset({"queue", "exchange", "exchange_type", "routing_key"}).union(
    *(signature(call).parameters for call in (Task.apply_async, Celery.send_task, AMQP.as_task_v2))
)


class Rejected(ValueError):
    """A message that is not to be run.

    Args:
        reason: why, in words fit for a header: short, without line breaks.
        kind: the exception that its caller is answered with: MessageTooLarge, or InvalidMessage for all else.
    """

    def __init__(self, reason: str, kind: str = "InvalidMessage") -> None:
        super().__init__(reason)
        self.kind = kind


class NoSuchTask(Rejected):
    """A message for a task that there is not; its caller is answered with Celery's NotRegistered.

    Args:
        task: the name of the task.
        task_id: the id of this one.
    """

    def __init__(self, task: str, task_id: str) -> None:
        super().__init__(f"there is no task {task[:100]!r}", "NotRegistered")
        self.task = task
        self.task_id = task_id


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 10_000


def _id(value: Any) -> bool:
    # An AMQP short string: a reply to it has to be sent.
    try:
        return isinstance(value, str) and 0 < len(value if value.isascii() else value.encode()) <= MAX_SHORT_STRING
    except UnicodeEncodeError:  # a lone surrogate
        return False


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**31


def _moment(value: Any) -> bool:
    try:
        # A day off the first and the last one there is: Celery converts it to its own time zone.
        return isinstance(value, str) and _FIRST < parse_moment(value).replace(tzinfo=None) < _LAST
    except ValueError:
        return False


def _limits(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(
        limit is None or (type(limit) in (int, float) and 0 <= limit < 10**9) for limit in value
    )  # fmt: skip


def _stamp(value: Any) -> bool:
    return _id(value) and value not in _OPTIONS


def _plain(value: Any, depth: int = _MAX_DEPTH) -> bool:
    # What a header of AMQP can hold, but in no more than `depth` objects and lists.
    if isinstance(value, Mapping):
        return depth > 0 and all(isinstance(key, str) and _plain(inner, depth - 1) for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return depth > 0 and all(_plain(inner, depth - 1) for inner in value)
    return value is None or isinstance(value, (str, bytes, int, float, Decimal, datetime))


def _task(value: Any) -> bool:
    # A signature, as a message carries it.
    return (
        isinstance(value, Mapping)
        and _id(value.get("task"))
        and isinstance(value.get("args"), (list, tuple))
        and isinstance(value.get("kwargs"), Mapping)
        and isinstance(value.get("options"), Mapping)
        and (value.get("subtask_type") is None or value["subtask_type"] in tuple(Signature.TYPES))
    )


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _none_or_each(check: Check) -> Check:
    return lambda value: not value or (isinstance(value, (list, tuple)) and all(map(check, value)))


_REQUIRED = ("task", "id")
# Every header that Celery sets, and what it may be.
_HEADERS: Mapping[str, Check] = {
    **dict.fromkeys(_REQUIRED, _id),
    **dict.fromkeys(("root_id", "parent_id", "group"), _or_none(_id)),
    **dict.fromkeys(("lang", "origin", "shadow", "argsrepr", "kwargsrepr"), _or_none(_text)),
    **dict.fromkeys(("eta", "expires"), _or_none(_moment)),
    **dict.fromkeys(("retries", "group_index", "replaced_task_nesting"), _or_none(_count)),
    "timelimit": _or_none(_limits),
    "ignore_result": _or_none(lambda value: isinstance(value, bool)),
    "stamped_headers": _none_or_each(_stamp),
    "stamps": lambda value: not value or (isinstance(value, Mapping) and _plain(value)),
}
# Most are none in most messages.
_MAY_BE_NONE = frozenset(name for name, check in _HEADERS.items() if check(None))
# Those that protocol 1 has in its body.
_VERSION_1 = (
    "task", "id", "root_id", "parent_id", "group", "lang", "origin", "shadow", "argsrepr", "kwargsrepr", "eta",
    "expires", "retries", "timelimit",
)  # fmt: skip
# What the body may carry besides arguments: further tasks.
_EMBEDDED: Mapping[str, Check] = {
    **dict.fromkeys(("callbacks", "errbacks", "chain"), _none_or_each(_task)),
    "chord": lambda value: not value or _task(value),
}


def validate_properties(
    properties: Mapping[str, Any], content_type: Any, content_encoding: Any, size: int,
    sender: str | None = None, accept: Container[str] = (JSON,),
) -> None:
    """Check what is known of a message without its headers and its body.

    Args:
        properties: its properties besides the headers.
        content_type, content_encoding, size: of the body; its size in bytes.
        sender: the broker's user that it has to come from, in `user_id`, which the broker has
            verified; None for anybody.
        accept: the content types that it may have.

    Raises Rejected.
    """  # fmt: skip
    if content_type not in accept or content_encoding not in (_UTF8 if content_type == JSON else (*_UTF8, "binary")):
        raise Rejected("the content has no type and encoding that the worker accepts, such as JSON in UTF-8")
    if not _comes_from(sender, properties):
        raise Rejected(f"it does not come from the user {sender}")
    if size > MAX_TASK_BODY:
        raise Rejected(f"the body has {size} bytes, {MAX_TASK_BODY} are allowed", "MessageTooLarge")
    for name in ("correlation_id", "reply_to"):
        # Empty for none, too.
        if properties.get(name) and not _id(properties[name]):
            raise Rejected(f"the property {name} is not what it should be")


def validate_headers(headers: Any, tasks: Container[str]) -> None:
    """Check the application headers of a message; `tasks` are the names of those that may be run. Raises Rejected."""
    if not isinstance(headers, Mapping):
        raise Rejected("there are no headers")
    for name in _REQUIRED:
        if name not in headers:
            raise Rejected(f"the header {name} is missing")
    for name, value in headers.items():
        if not isinstance(name, str):
            raise Rejected("the name of a header is no text")
        if value is None and name in _MAY_BE_NONE:
            continue
        check = _HEADERS.get(name)
        if check is None:
            # Others belong to whoever sent them, unless they would pass for what Celery knows of a task.
            if name == "compression":
                raise Rejected("the header compression: compressed content is not allowed")
            if hasattr(Context, name):
                raise Rejected(f"the header {name[:100]!r} is not allowed")
        elif not check(value):
            raise Rejected(f"the header {name} is not what it should be")
    if headers["task"] not in tasks:
        raise NoSuchTask(headers["task"], headers["id"])


def validate_body(body: Any, canvas: bool = False) -> None:
    """Check a decoded body.

    Args:
        body: `[args, kwargs, embed]`.
        canvas: it may name further tasks to send: callbacks, a chain, a chord.

    Raises Rejected.
    """
    match body:
        case [[*_], Mapping(), Mapping() as embed] if embed.keys() <= _EMBEDDED.keys():
            pass
        case _:
            raise Rejected("the body is not [args, kwargs, embed]")
    if any(embed.values()):
        if not canvas:
            raise Rejected("the body names other tasks to send")
        for name, value in embed.items():
            if not _EMBEDDED[name](value):
                raise Rejected(f"the body's {name} is not what it should be")


def as_version_2(headers: Any, body: Any) -> tuple[Any, Any]:
    """The headers and the decoded body that Celery makes of a message of protocol 1, which has all in its body.

    A message of another form stays as it is, and is not valid.
    """
    if not isinstance(headers, Mapping) or not isinstance(body, Mapping):
        return headers, body
    known = {name: body[name] for name in _VERSION_1 if name in body}
    embed = {name: body.get(name) for name in _EMBEDDED}
    return {**known, **headers}, (body.get("args"), body.get("kwargs"), embed)


def reply_address(
    headers: Any, properties: Mapping[str, Any], sender: str | None = None
) -> tuple[str, str, str] | None:
    """Where the answer to a rejected message goes: the queue, the correlation id, the task's id.

    None when the message does not say so, or does not come from `sender` (see validate_properties).
    """
    task_id: Any = headers.get("id") if isinstance(headers, Mapping) else None
    correlation_id: Any = properties.get("correlation_id") or task_id
    if not _comes_from(sender, properties) or not _id(properties.get("reply_to")) or not _id(correlation_id):
        return None
    return properties["reply_to"], correlation_id, task_id if _id(task_id) else correlation_id


def _comes_from(sender: str | None, properties: Mapping[str, Any]) -> bool:
    return sender is None or properties.get("user_id") == sender
