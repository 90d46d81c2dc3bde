"""Results as JSON. No I/O."""

import json
from typing import Any

from nowait.errors import ResultTooLarge
from nowait.messages.encoded import Encoded
from nowait.rows import to_json

LARGEST = 4 * 1024 * 1024  # bytes of a result
_DEEPEST = 31  # levels of arrays and objects in MariaDB's columns of JSON

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=to_json)


def encode(value: Any, limit: int = LARGEST) -> str:
    """The compact JSON text of a value, in the forms of `nowait.rows`.

    Args:
        value: may be an Encoded, too.
        limit: bytes, UTF-8, that the text may have.

    Raises:
        ResultTooLarge: it is larger.
        TypeError, ValueError: it has no form in JSON.
    """
    if isinstance(value, Encoded):
        if len(value) > limit:
            raise ResultTooLarge(limit)
        return bytes(value).decode()
    parts, size = [], 0
    for part in _ENCODER.iterencode(value):
        # A lone surrogate has no UTF-8 form; its backslash escape is its JSON form.
        encoded = part.encode("utf-8", "backslashreplace")
        size += len(encoded)
        if size > limit:
            raise ResultTooLarge(limit)
        parts.append(encoded)
    return b"".join(parts).decode()


def check_column(value: Any, levels: int = _DEEPEST) -> None:
    """Raise ValueError unless a column of JSON keeps this value: MariaDB takes 31 levels, and no lone surrogates.

    Args:
        value: as json.loads() gives it.
        levels: that it may have.
    """
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, (dict, list)):
        if not levels:
            raise ValueError(f"it has more than {_DEEPEST} levels")
        for part in [*value, *value.values()] if isinstance(value, dict) else value:
            check_column(part, levels - 1)
