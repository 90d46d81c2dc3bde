"""Content headers that py-amqp cannot decode: without this, one of them ends the worker, and then the next one."""

from collections.abc import Callable
from typing import Any

from nowait.amqp.frames import HEADER

Frame = tuple[int, int, bytes]  # type, channel, payload

_FIXED = 12  # bytes of a content header in front of the properties
_NO_PROPERTIES = b"\x00\x00"


def tolerant(handle: Callable[[Frame], Any]) -> Callable[[Frame], Any]:
    """py-amqp's handler of the frames that arrive, for which a message has no properties where they are unreadable.

    Such a message is rejected like any other that has no headers.
    """

    def handle_frame(frame: Frame) -> Any:
        try:
            return handle(frame)
        except Exception:  # OverflowError of a time stamp, RecursionError of a nested table, py-amqp's own
            kind, channel, payload = frame
            if kind != HEADER:
                raise
            return handle((kind, channel, bytes(payload[:_FIXED]) + _NO_PROPERTIES))

    return handle_frame
