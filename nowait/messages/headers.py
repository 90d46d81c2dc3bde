"""The application headers of a message, decoded: the field table of AMQP 0-9-1, 4.2.5.5, as py-amqp reads it. No I/O.

They are read here, for a half of the time; what is no table is py-amqp's, whose errors are those of a table.
"""

import struct
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from amqp.serialization import loads

_SIZE = struct.Struct(">I")
_NUMBERS = {
    kind: struct.Struct(f">{form}")
    for kind, form in zip(b"IlLbsBuUifd", ("i", "q", "q", "b", "h", "B", "H", "h", "I", "f", "d"), strict=True)
}
_LONG_STRING, _VOID, _BOOLEAN, _ARRAY, _TABLE, _TIME, _DECIMAL, _BYTES = b"SVtAFTDx"
_TIMES, _DECIMALS = struct.Struct(">Q"), struct.Struct(">Bi")


def decode_headers(table: bytes) -> dict[str, Any]:
    """The headers of an encoded table, its length in front. Raises ValueError when they cannot be decoded."""
    try:
        headers, end = _table(table, 0)
        if end == len(table):
            return headers
    except (_Other, UnicodeDecodeError, IndexError, struct.error, RecursionError):
        pass
    try:
        (decoded,), _ = loads("F", table, 0)
    except Exception as error:  # OverflowError of a time stamp, RecursionError of a nested table, py-amqp's own
        raise ValueError(f"{type(error).__name__} in a table") from error
    return dict(decoded)


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data


def _time(seconds: int) -> datetime | int:
    """A time stamp; the number where there is no such day, as of one in milliseconds."""
    try:
        return datetime.fromtimestamp(seconds, tz=timezone.utc).replace(tzinfo=None)
    except (OverflowError, ValueError, OSError):
        return seconds


class _Other(Exception):
    """A kind of value that is not read here."""


def _table(data: bytes, at: int) -> tuple[dict[str, Any], int]:
    """The table at that offset, and the offset behind it."""
    end = at + 4 + int(_SIZE.unpack_from(data, at)[0])
    at += 4
    table: dict[Any, Any] = {}  # a name that is no text is bytes
    while at < end:
        start = at + 1
        at = start + data[at]
        name = _text(data[start:at])
        # The kinds of nearly all headers, without a call for each.
        kind = data[at]
        if kind == _VOID:
            table[name] = None
            at += 1
        elif kind == _LONG_STRING:
            start = at + 5
            at = start + _SIZE.unpack_from(data, at + 1)[0]
            table[name] = _text(data[start:at])
        else:
            table[name], at = _value(data, at)
    return table, at


def _value(data: bytes, at: int) -> tuple[Any, int]:
    """The value at that offset, its kind in front, and the offset behind it."""
    kind = data[at]
    at += 1
    if kind in _NUMBERS:
        form = _NUMBERS[kind]
        return form.unpack_from(data, at)[0], at + form.size
    if kind == _VOID:
        return None, at
    if kind == _BOOLEAN:
        return data[at] != 0, at + 1
    if kind == _LONG_STRING:
        end = at + 4 + int(_SIZE.unpack_from(data, at)[0])
        return _text(data[at + 4 : end]), end
    if kind == _TABLE:
        return _table(data, at)
    if kind == _TIME:
        return _time(_TIMES.unpack_from(data, at)[0]), at + _TIMES.size
    if kind == _DECIMAL:
        scale, number = _DECIMALS.unpack_from(data, at)
        return Decimal(number) / Decimal(10**scale), at + _DECIMALS.size
    if kind == _BYTES:
        end = at + 4 + int(_SIZE.unpack_from(data, at)[0])
        return data[at + 4 : end], end
    if kind == _ARRAY:
        end = at + 4 + int(_SIZE.unpack_from(data, at)[0])
        at += 4
        values = []
        while at < end:
            value, at = _value(data, at)
            values.append(value)
        return values, at
    raise _Other
