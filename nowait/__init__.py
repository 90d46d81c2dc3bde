"""Await Celery tasks on an event loop, and run them in workers that keep their promises.

`nowait.bridge` is for programs that send tasks, `nowait.worker` for those that run them; neither imports the other. So
Bridge and its kin are imported when they are first used: a worker never loads them.
"""

from importlib import import_module, metadata
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
    if name == "__version__":
        return _version()
    if name not in ("Bridge", "Call", "Progress", "Statistics"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("nowait.bridge"), name)


def _version() -> str:
    """The version that is installed; "0.0" where the package is imported from a tree alone."""
    try:
        installed = metadata.distribution(__name__)
    except metadata.PackageNotFoundError:
        return "0.0"
    # What a build leaves in a tree is of that time, and has another file.
    return installed.version if installed.read_text("METADATA") else "0.0"
