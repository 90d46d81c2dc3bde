"""The properties of a message, in both directions (AMQP 0-9-1, 1.8 and 4.2.6.1)."""

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

# In the order of their flags, from bit 15 down: short string, table, octet or timestamp.
_FIELDS = {
    "content_type": "s",
    "content_encoding": "s",
    "headers": "F",
    "delivery_mode": "o",
    "priority": "o",
    "correlation_id": "s",
    "reply_to": "s",
    "expiration": "s",
    "message_id": "s",
    "timestamp": "T",
    "type": "s",
    "user_id": "s",
    "app_id": "s",
    "cluster_id": "s",
}
_BITS = [(1 << (15 - place), name, kind) for place, (name, kind) in enumerate(_FIELDS.items())]
_MAX_SHORT_STRING = 255  # bytes

NAMES = frozenset(_FIELDS)


def flags(properties: Mapping[str, Any]) -> bytes:
    """The flags of the properties that are there; None stands for one that is not."""
    return struct.pack(">H", sum(bit for bit, name, _ in _BITS if properties.get(name) is not None))


def values(properties: Mapping[str, Any], *names: str) -> bytes:
    """The values of those of the named properties that are there, in the order of the names.

    Short strings are text, octets and timestamps integers; `headers` is the table in its encoded
    form, its length in front. Raises ValueError for what its type cannot hold.
    """
    return b"".join(_encode(_FIELDS[name], properties[name]) for name in names if properties.get(name) is not None)


def encode(properties: Mapping[str, Any]) -> bytes:
    """Flags and values of all of `properties`."""
    there, encoded = 0, [b""]
    for bit, name, kind in _BITS:
        if (value := properties.get(name)) is not None:
            there |= bit
            encoded.append(_encode(kind, value))
    encoded[0] = struct.pack(">H", there)
    return b"".join(encoded)


def decode(payload: bytes, at: int = 0) -> dict[str, Any]:
    """The properties from that offset on, in the forms of values().

    Raises struct.error or IndexError when the bytes end too early.
    """
    (there,) = struct.unpack_from(">H", payload, at)
    at += 2
    found: dict[str, Any] = {}
    for name, kind in _there(there):
        if kind == "s":
            found[name], at = short_string(payload, at)
        elif kind == "o":
            found[name] = payload[at]
            at += 1
        elif kind == "F":
            end = at + 4 + int(struct.unpack_from(">I", payload, at)[0])
            found[name], at = payload[at:end], end
        else:
            (found[name],) = struct.unpack_from(">Q", payload, at)
            at += 8
    return found


@lru_cache(maxsize=100)  # one sender sets the same properties of all its messages
def _there(there: int) -> Sequence[tuple[str, str]]:
    """Name and kind of each property that the flags say is there."""
    return tuple((name, kind) for bit, name, kind in _BITS if there & bit)


def short_string(payload: bytes, at: int) -> tuple[str, int]:
    """The short string at that offset, and the offset behind it. Raises IndexError when it is cut short."""
    end = at + 1 + payload[at]
    if end > len(payload):
        raise IndexError("short string")
    return payload[at + 1 : end].decode("utf-8", "replace"), end


def encode_short_string(text: str) -> bytes:
    """A short string. Raises ValueError when it is longer than AMQP allows."""
    data = text.encode()
    if len(data) > _MAX_SHORT_STRING:
        raise ValueError(f"a short string has at most {_MAX_SHORT_STRING} bytes, not {len(data)}: {text[:40]}…")
    return bytes((len(data),)) + data


def _encode(kind: str, value: Any) -> bytes:
    if kind == "s":
        return encode_short_string(str(value))
    if kind == "F":
        return bytes(value)
    try:
        return struct.pack(">B" if kind == "o" else ">Q", int(value))
    except struct.error as error:
        raise ValueError(f"{value!r} is out of range") from error
