"""The replies of workers, as the `rpc://` result backend sends them (celery/backends/rpc.py), and what they mean."""

import json
from collections.abc import Mapping
from json.scanner import py_make_scanner  # type: ignore[attr-defined]
from typing import Any, NamedTuple

from nowait.amqp.methods import Delivery
from nowait.errors import (
    BridgeError,
    DeadlineExceeded,
    MessageTooLarge,
    OutcomeUnknown,
    ResultTooLarge,
    TaskFailed,
    UnknownTask,
)
from nowait.messages.encoded import Encoded
from nowait.messages.headers import decode_headers

# Only these states end a call; all others (STARTED, RETRY, a task's own) are progress.
FINAL_STATES = frozenset({"SUCCESS", "FAILURE", "REVOKED", "REJECTED"})
# True in the document of a failure that says that the task was not run. Celery's own callers pass over it.
REJECTED = "rejected"
# A header of a reply: its result begins at that byte of the body, and ends before the last one.
RESULT_AT = "nowait-result"

LARGE = 256 * 1024  # bytes of a body, from which on decoding it takes milliseconds


class Reply(NamedTuple):
    """One reply of a worker.

    Attributes:
        state: the task's state; REJECTED where the worker did not run it.
        result: what the task returned, for SUCCESS; whatever the worker sent, otherwise.
        runtime: seconds that the task ran; None when the worker does not say.
        worker: the name that the worker gives itself, whatever that is; None when it gives none.
        ended: when it ended, seconds since the epoch by the worker's clock; None when the worker does not say.
    """

    state: str
    result: Any
    runtime: float | None = None
    worker: str | None = None
    ended: float | None = None

    @property
    def final(self) -> bool:
        """True when no other reply decides the call."""
        return self.state in FINAL_STATES

    def error(self) -> BridgeError:
        """What a final reply other than SUCCESS means for its call."""
        kind, text = self._failure()
        if self.state == "REVOKED" and (kind, text) == ("TaskRevokedError", "expired"):
            return DeadlineExceeded("the deadline passed before a worker began the task")
        # What Nowait's workers call a task that was not run, or that may have run already.
        if self.state == "REJECTED" and kind == "NotRegistered":
            return UnknownTask(f"there is no task {text[:100]!r}")
        if self.state == "REJECTED" and kind == "MessageTooLarge":
            return MessageTooLarge(text)
        if kind in ("OutcomeUnknown", "WorkerLostError"):  # Celery's, of a child process that was killed
            return OutcomeUnknown(text)
        if kind == "ResultTooLarge":
            return self._too_large()
        return TaskFailed(self.state, kind, text)

    def _failure(self) -> tuple[str, str]:
        """The name of the exception's type and its text, as data; "" where there is none."""
        if not isinstance(self.result, Mapping):
            return "", str(self.result)
        text = self.result.get("exc_message", "")
        if isinstance(text, (list, tuple)):
            text = " ".join(str(part) for part in text)
        return str(self.result.get("exc_type", "")), str(text)

    def _too_large(self) -> ResultTooLarge:
        """The limit as the worker gave it; as data, since it is passed on to clients."""
        match self.result.get("exc_message"):
            case [int(limit), "rows" | "bytes" as unit] if limit > 0 and limit is not True:
                return ResultTooLarge(limit, unit)
        return ResultTooLarge()


class MalformedReply(ValueError):
    """A message in the reply queue that is no reply."""


def decode_reply(body: bytes, content_type: str) -> Reply:
    """Read one reply. Nothing in it is turned into anything but JSON values.

    Raises MalformedReply when it is not JSON or not of the backend's shape.
    """
    return _decode(body, content_type, json.JSONDecoder())


def read_reply(message: Delivery, encoded: bool) -> Reply | None:
    """The same of a message with a body; None where that would take long: see read_large_reply().

    Args:
        message: the message.
        encoded: what the task has returned is to be an Encoded.
    """
    if encoded and (start := _result_at(message)):
        reply = _split(message, start)
        if reply.state == "SUCCESS":
            return reply
    if message.size >= LARGE:
        return None
    reply = decode_reply(message.body, message.content_type)
    return _encode(reply, message) if encoded else reply


def read_large_reply(message: Delivery, encoded: bool) -> Reply:
    """As read_reply(), at a tenth of the speed: for a thread, so that others have their turn meanwhile.

    The usual decoder is written in C, and keeps the GIL to its end.
    """
    reply = _decode(message.body, message.content_type, _StepByStep())
    return _encode(reply, message) if encoded else reply


class _StepByStep(json.JSONDecoder):
    """Decodes in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.scan_once = py_make_scanner(self)


def _decode(body: bytes, content_type: str, decoder: json.JSONDecoder) -> Reply:
    if content_type != "application/json":
        raise MalformedReply(f"content type {content_type[:40]!r}")
    try:
        document = decoder.decode(body.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise MalformedReply("not JSON") from error
    if not isinstance(document, dict) or not isinstance(document.get("status"), str):
        raise MalformedReply("no status")
    runtime, worker, ended = document.get("runtime"), document.get("worker"), document.get("ended")
    return Reply(
        "REJECTED" if document.get(REJECTED) is True else document["status"],
        document.get("result"),
        runtime if isinstance(runtime, float) else None,
        worker if isinstance(worker, str) else None,
        ended if isinstance(ended, float) else None,
    )


def _result_at(message: Delivery) -> int:
    """Where the result begins; 0 where the sender does not say."""
    table = message.properties.get("headers")
    if table is None:
        return 0
    try:
        start = decode_headers(table).get(RESULT_AT, 0)
    except ValueError as error:
        raise MalformedReply("the headers cannot be decoded") from error
    return start if isinstance(start, int) else 0


def _split(message: Delivery, start: int) -> Reply:
    """A reply whose result is the text from that byte on to the last but one."""
    first, *others = message.parts or (b"",)
    last = others[-1] if others else first
    if not 0 < start < len(first) or start >= message.size - 1 or last[-1:] != b"}":
        raise MalformedReply("there is no result where it should be")
    reply = decode_reply(first[:start] + b"null}", message.content_type)
    parts: list[bytes | memoryview] = [first, *others]
    parts[0] = memoryview(first)[start:]
    parts[-1] = memoryview(parts[-1])[:-1]
    return reply._replace(result=Encoded(*parts, share=message.share))


def _encode(reply: Reply, message: Delivery) -> Reply:
    """The same with its result encoded, as compact JSON, if that is what the task has returned."""
    if reply.state != "SUCCESS":
        return reply
    try:
        return reply._replace(result=Encoded.of(reply.result, message.share))
    except RecursionError as error:
        raise MalformedReply("it is nested too deeply") from error
