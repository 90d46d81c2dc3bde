"""The bridge: await the results of Celery tasks on any asyncio loop.

Knows Celery and the broker, nothing of HTTP or Tornado.
"""

from server.bridge.bridge import Bridge, Statistics
from server.bridge.call import Call, Progress
from server.bridge.errors import (
    Blocked,
    BridgeError,
    DeadlineExceeded,
    Disconnected,
    OutcomeUnknown,
    Overloaded,
    Refused,
    Stopped,
    TaskFailed,
    Unavailable,
    Unroutable,
)

__all__ = [
    "Blocked",
    "Bridge",
    "BridgeError",
    "Call",
    "DeadlineExceeded",
    "Disconnected",
    "OutcomeUnknown",
    "Overloaded",
    "Progress",
    "Refused",
    "Statistics",
    "Stopped",
    "TaskFailed",
    "Unavailable",
    "Unroutable",
]
