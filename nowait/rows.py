"""Rows of a database as JSON, without loss. No I/O."""

import base64
import datetime
import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def encode_rows(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows as the text of a JSON array of objects, compact UTF-8.

    Args:
        names: of the columns; of several that are called the same, the last one counts.
        rows: the values of each row, in the order of the columns, see to_json().

    Raises TypeError for a value that has no JSON form.
    """
    text = _encode([{name: to_json(value) for name, value in zip(names, row)} for row in rows])
    # A lone surrogate has no UTF-8 form; its backslash escape is its JSON form.
    return text.encode("utf-8", "backslashreplace")


def encode_lines(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows as lines of JSON (https://github.com/ndjson/ndjson-spec): an object and a line feed for each.

    Args and Raises as for encode_rows().
    """
    text = "".join([_encode({name: to_json(value) for name, value in zip(names, row)}) + "\n" for row in rows])
    return text.encode("utf-8", "backslashreplace")


def encode_csv(rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows as lines of CSV (RFC 4180), UTF-8.

    All but numbers and NULL is in quotes: what is empty without them is NULL, with them an empty string. JSON columns
    are JSON, all other values as in to_json(). Nothing is changed for programs that take text for formulas.

    Args:
        rows: the values of each row, or the names of the columns.

    Raises TypeError as to_json().
    """
    text = "".join([",".join(map(_csv_field, row)) + "\r\n" for row in rows])
    return text.encode("utf-8", "backslashreplace")


def _csv_field(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        value = to_json(value)
        if isinstance(value, (int, float)):
            return str(value)
        if not isinstance(value, str):
            value = _encode(value)
    return f'"{value.replace(chr(34), chr(34) * 2)}"'


def to_json(value: Any) -> Any:
    """One column's value in the form that JSON carries exactly.

    Decimal becomes a string, date and datetime ISO 8601, TIME `[-]HH:MM:SS[.ffffff]` (MariaDB's
    goes from -838:59:59 to 838:59:59, the part within a day is ISO 8601), bytes base64; lists and
    dicts are JSON columns, None is NULL.

    Raises TypeError for anything else.
    """
    if value is None or isinstance(value, (str, int, float, list, dict)):
        return value
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        hours, rest = divmod(abs(value), datetime.timedelta(hours=1))
        return f"{'-' if value < datetime.timedelta() else ''}{hours:02d}:{str(rest).partition(':')[2]}"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"no JSON form for {type(value).__name__}")
