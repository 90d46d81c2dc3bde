"""Frames of an open AMQP 0-9-1 connection: cut from the bytes that arrive, and made.

The source of all formats and numbers is the specification,
https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, 2.3.5 and 4.2.
"""

import struct
from collections.abc import Iterator

_KINDS = METHOD, HEADER, BODY, _HEARTBEAT = 1, 2, 3, 8
OVERHEAD = 8  # bytes around a frame's payload
_END = 0xCE
_HEAD = struct.Struct(">BHI")  # type, channel, payload size


class ProtocolError(Exception):
    """The peer sent what is not AMQP 0-9-1."""


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """One frame."""
    return _HEAD.pack(kind, channel, len(payload)) + payload + b"\xce"


HEARTBEAT = frame(_HEARTBEAT, 0, b"")


class FrameDecoder:
    """Cuts what arrives into frames.

    Args:
        frame_max: the largest frame that was agreed on, in bytes; 0 for no limit.
    """

    def __init__(self, frame_max: int) -> None:
        self._frame_max = frame_max
        self._buffer = bytearray()
        self._wanted = 0  # bytes of the frame that is arriving, as far as that is known

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Take bytes; yields type, channel and payload of the frames that they complete, without heartbeats.

        Raises ProtocolError; the connection is of no use afterwards.
        """
        self._buffer += data
        if len(self._buffer) < self._wanted:
            return
        buffer = bytes(self._buffer)  # slices of it are copied once
        start = self._wanted = 0
        try:
            while len(buffer) - start >= _HEAD.size:
                kind, channel, size = _HEAD.unpack_from(buffer, start)
                end = start + _HEAD.size + size
                if kind not in _KINDS:
                    raise ProtocolError(f"frame of type {kind}")
                if self._frame_max and size + OVERHEAD > self._frame_max:
                    raise ProtocolError(f"frame of {size} bytes, {self._frame_max} are allowed")
                if len(buffer) <= end:
                    self._wanted = end + 1 - start
                    break
                if buffer[end] != _END:
                    raise ProtocolError("frame without its end")
                payload = buffer[start + _HEAD.size : end]
                start = end + 1
                if kind != _HEARTBEAT:
                    yield kind, channel, payload
        finally:
            del self._buffer[:start]
