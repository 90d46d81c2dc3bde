"""Await Celery tasks on an event loop, and run them in workers that keep their promises.

`nowait.bridge` is for programs that send tasks, `nowait.worker` for those that run them; neither imports the other. So
Bridge and its kin are imported when they are first used: a worker never loads them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nowait.errors import (
    Blocked,
    BridgeError,
    DeadlineExceeded,
    Disconnected,
    MessageTooLarge,
    OutcomeUnknown,
    Overloaded,
    QueueFull,
    Refused,
    ResultTooLarge,
    Stopped,
    TaskFailed,
    Unavailable,
    UnknownTask,
    Unroutable,
)
from nowait.messages.encoded import Encoded
from nowait.messages.stream import StreamMessage

if TYPE_CHECKING:
    from nowait.bridge import Bridge, Call, Progress, Statistics

__all__ = [
    "Blocked", "Bridge", "BridgeError", "Call", "DeadlineExceeded", "Disconnected", "Encoded", "MessageTooLarge",
    "OutcomeUnknown", "Overloaded", "Progress", "QueueFull", "Refused", "ResultTooLarge", "Statistics", "Stopped",
    "StreamMessage", "TaskFailed", "Unavailable", "UnknownTask", "Unroutable",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in ("Bridge", "Call", "Progress", "Statistics"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("nowait.bridge"), name)
