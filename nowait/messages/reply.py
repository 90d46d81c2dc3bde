"""The replies of workers, as the `rpc://` result backend sends them (celery/backends/rpc.py), and what they mean."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from nowait.errors import BridgeError, DeadlineExceeded, MessageTooLarge, OutcomeUnknown, TaskFailed, UnknownTask

# Only these states end a call; all others (STARTED, RETRY, a task's own) are progress.
FINAL_STATES = frozenset({"SUCCESS", "FAILURE", "REVOKED", "REJECTED"})
# True in the document of a failure that says that the task was not run. Celery's own callers pass over it.
REJECTED = "rejected"

_decode = json.JSONDecoder().decode


class Reply(NamedTuple):
    """One reply of a worker.

    Attributes:
        state: the task's state; REJECTED where the worker did not run it.
        result: what the task returned, for SUCCESS; whatever the worker sent, otherwise.
        runtime: seconds that the task ran; None when the worker does not say.
    """

    state: str
    result: Any
    runtime: float | None = None

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
        if kind == "OutcomeUnknown":
            return OutcomeUnknown(text)
        return TaskFailed(self.state, kind, text)

    def _failure(self) -> tuple[str, str]:
        """The name of the exception's type and its text, as data; "" where there is none."""
        if not isinstance(self.result, Mapping):
            return "", str(self.result)
        text = self.result.get("exc_message", "")
        if isinstance(text, (list, tuple)):
            text = " ".join(str(part) for part in text)
        return str(self.result.get("exc_type", "")), str(text)


class MalformedReply(ValueError):
    """A message in the reply queue that is no reply."""


def decode_reply(body: bytes, content_type: str) -> Reply:
    """Read one reply. Nothing in it is turned into anything but JSON values.

    Raises MalformedReply when it is not JSON or not of the backend's shape.
    """
    if content_type != "application/json":
        raise MalformedReply(f"content type {content_type[:40]!r}")
    try:
        document = _decode(body.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise MalformedReply("not JSON") from error
    if not isinstance(document, dict) or not isinstance(document.get("status"), str):
        raise MalformedReply("no status")
    runtime = document.get("runtime")
    state = "REJECTED" if document.get(REJECTED) is True else document["status"]
    return Reply(state, document.get("result"), runtime if isinstance(runtime, float) else None)
