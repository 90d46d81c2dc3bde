"""Is a message a task that this worker may run? Decided before Celery reads it. No I/O.

Celery trusts what it receives: a misshapen header stops the worker, which hands the message to the
next one; a body may name other tasks to send. The form is message protocol 2,
https://docs.celeryq.dev/en/stable/internals/protocol.html.
"""

from collections.abc import Callable, Container, Mapping
from typing import Any

from celery.app.task import Context
from celery.utils.time import maybe_iso8601

from nowait.messages.limits import MAX_SHORT_STRING, MAX_TASK_BODY

Check = Callable[[Any], bool]


class Refused(ValueError):
    """A message that is not to be run; the text says why, in words fit for a header."""


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 10_000


def _id(value: Any) -> bool:
    # An AMQP short string: a reply to it has to be sent.
    try:
        return isinstance(value, str) and 0 < len(value.encode()) <= MAX_SHORT_STRING
    except UnicodeEncodeError:  # a lone surrogate
        return False


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**31


def _moment(value: Any) -> bool:
    try:
        return isinstance(value, str) and maybe_iso8601(value) is not None
    except ValueError:
        return False


def _limits(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(
        limit is None or (type(limit) in (int, float) and 0 < limit < 10**9) for limit in value
    )  # fmt: skip


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


# Every header that Celery sets, and what it may be.
_HEADERS: Mapping[str, Check] = {
    "task": _id,
    "id": _id,
    "root_id": _or_none(_id),
    "parent_id": _or_none(_id),
    "group": _or_none(_id),
    "group_index": _or_none(_count),
    "lang": _or_none(_text),
    "origin": _or_none(_text),
    "shadow": _or_none(_text),
    "argsrepr": _or_none(_text),
    "kwargsrepr": _or_none(_text),
    "eta": _or_none(_moment),
    "expires": _or_none(_moment),
    "retries": _or_none(_count),
    "timelimit": _or_none(_limits),
    "ignore_result": _or_none(lambda value: isinstance(value, bool)),
    "replaced_task_nesting": _or_none(_count),
    "stamped_headers": lambda value: not value,
    "stamps": lambda value: not value,
}
_REQUIRED = ("task", "id")
_EMBEDDED = {"callbacks", "errbacks", "chain", "chord"}


def check_envelope(
    headers: Any, properties: Mapping[str, Any], content_type: Any, content_encoding: Any, size: int,
    tasks: Container[str], sender: str | None = None,
) -> None:
    """Look at all of a message but its body.

    Args:
        headers: its application headers.
        properties: its other properties.
        content_type: of the body.
        content_encoding: of the body.
        size: of the body, in bytes.
        tasks: the names of the tasks that may be run.
        sender: the broker's user that it has to come from, in `user_id`, which the broker has
            verified; None for anybody.

    Raises Refused.
    """  # fmt: skip
    if content_type != "application/json" or content_encoding not in ("utf-8", "utf8"):
        raise Refused("the content is not JSON in UTF-8")
    if sender is not None and properties.get("user_id") != sender:
        raise Refused(f"it does not come from the user {sender}")
    if size > MAX_TASK_BODY:
        raise Refused(f"the body has {size} bytes, {MAX_TASK_BODY} are allowed")
    if not isinstance(headers, Mapping):
        raise Refused("there are no headers")
    for name in _REQUIRED:
        if name not in headers:
            raise Refused(f"the header {name} is missing")
    for name, value in headers.items():
        check = _HEADERS.get(name)
        if check is None:
            # Others belong to whoever sent them, unless they would pass for what Celery knows of a task.
            if name == "compression" or hasattr(Context, name):
                raise Refused(f"the header {name[:100]} is not allowed")
        elif not check(value):
            raise Refused(f"the header {name} is not what it should be")
    if headers["task"] not in tasks:
        raise Refused(f"there is no task {headers['task'][:100]}")
    for name in ("correlation_id", "reply_to"):
        if not _or_none(_id)(properties.get(name)):
            raise Refused(f"the property {name} is not what it should be")


def check_body(body: Any, canvas: bool = False) -> None:
    """Look at a decoded body.

    Args:
        body: `[args, kwargs, embed]`.
        canvas: it may name further tasks to send: callbacks, a chain, a chord.

    Raises Refused.
    """
    if not isinstance(body, (list, tuple)) or len(body) != 3:
        raise Refused("the body is not [args, kwargs, embed]")
    args, kwargs, embed = body
    if not isinstance(args, (list, tuple)) or not isinstance(kwargs, Mapping) or not isinstance(embed, Mapping):
        raise Refused("the body is not [args, kwargs, embed]")
    if not embed.keys() <= _EMBEDDED or (any(embed.values()) and not canvas):
        raise Refused("the body names other tasks to send")
