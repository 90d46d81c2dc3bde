"""Rows of a database as JSON, without loss. No I/O."""

import base64
import datetime
import json
import math
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any

import msgspec

# The form of all values is that of the standard library's encoder. msgspec is much faster, and writes most of them
# alike; what it writes otherwise it gets as text that is passed on, and what it refuses, it does not get.
_standard = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_encoder = msgspec.json.Encoder()
_compact = partial(msgspec.json.format, indent=-1)
_ALIKE = {type(None), bool, int, str, bytes, Decimal, datetime.date, msgspec.Raw}
_LOW, _HIGH = 1e-4, 1e16  # from, to: floats that repr() writes without an exponent, as msgspec does


def encode_rows(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows as the text of a JSON array of objects, compact UTF-8.

    Args:
        names: of the columns; of several that are called the same, the last one counts.
        rows: the values of each row, in the order of the columns, see to_json().

    Raises TypeError for a value that has no JSON form.
    """
    rows = list(rows)
    try:
        return encode_columns(names, [alike(column) for column in zip(*rows)])
    except (TypeError, ValueError, msgspec.MsgspecError):  # such as lone surrogates
        return _text([{name: to_json(value) for name, value in zip(names, row)} for row in rows])


def encode_columns(names: Sequence[str], columns: Sequence[Sequence[Any]]) -> bytes:
    """As encode_rows(), of the values of each column, which are alike(), or compact_json() has given."""
    return _encoder.encode(_objects(names, columns))


def alike(column: Sequence[Any]) -> Sequence[Any]:
    """The values of one column, for encode_columns(). Raises TypeError for a value that has no JSON form."""
    kinds = set(map(type, column)) - {type(None)}
    if kinds <= _ALIKE:
        return column
    if kinds == {float} and all(not value or _LOW <= abs(value) < _HIGH for value in column):
        return column
    if kinds == {datetime.datetime} and not any(value.tzinfo for value in column if value is not None):
        return column
    return [value if type(value) in _ALIKE else msgspec.Raw(_text(to_json(value))) for value in column]


def compact_json(column: Sequence[bytes]) -> Sequence[msgspec.Raw]:
    """The texts of a JSON column, for encode_columns(): as they are, without the blanks between their parts.

    Raises ValueError when one is no JSON.
    """
    try:
        b"".join(column).decode()
        return list(map(msgspec.Raw, map(_compact, column)))
    except (ValueError, msgspec.MsgspecError):
        return list(map(_compact_slowly, column))


def encode_lines(names: Sequence[str], columns: Sequence[Sequence[Any]]) -> bytes:
    """Rows as lines of JSON (https://github.com/ndjson/ndjson-spec): an object and a line feed for each.

    Args as for encode_columns().
    """
    return _encoder.encode_lines(_objects(names, columns))


def encode_csv(rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows as lines of CSV (RFC 4180), UTF-8.

    All but numbers and NULL is in quotes: what is empty without them is NULL, with them an empty string. Objects and
    arrays of JSON columns are JSON, all other values as in to_json(). Nothing is changed for programs that take text
    for formulas.

    Args:
        rows: the values of each row, as they are or as for encode_columns(), or the names of the columns.

    Raises TypeError as to_json().
    """
    text = "".join([",".join(map(_csv_field, row)) + "\r\n" for row in rows])
    return text.encode("utf-8", "backslashreplace")


def _csv_field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, msgspec.Raw):
        text = bytes(value).decode()
        if text[0] not in '"[{':
            return text
        value = json.loads(text) if text[0] == '"' else text
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        value = to_json(value)
        if isinstance(value, (int, float)):
            return str(value)
        if not isinstance(value, str):
            value = _encoder.encode(value).decode()
    return f'"{value.replace(chr(34), chr(34) * 2)}"'


def to_json(value: Any) -> Any:
    """One column's value in the form that JSON carries exactly.

    Decimal becomes a string, date and datetime ISO 8601, TIME `[-]HH:MM:SS[.ffffff]` (MariaDB's
    goes from -838:59:59 to 838:59:59, the part within a day is ISO 8601), bytes base64; lists,
    dicts and what compact_json() has given are JSON columns, None is NULL.

    Raises TypeError for anything else.
    """
    if value is None or isinstance(value, (str, int, float, list, dict)):
        return value
    if isinstance(value, msgspec.Raw):
        return json.loads(bytes(value))
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


def _objects(names: Sequence[str], columns: Sequence[Sequence[Any]]) -> list[Any]:
    kind, places = _kind(tuple(names))
    if len(places) < len(columns):
        columns = [columns[place] for place in places]
    return list(map(kind, *columns))


def _text(value: Any) -> bytes:
    # A lone surrogate has no UTF-8 form; its backslash escape is its JSON form.
    return _standard(value).encode("utf-8", "backslashreplace")


def _compact_slowly(text: bytes) -> msgspec.Raw:
    try:
        text.decode()
        return msgspec.Raw(_compact(text))
    except (ValueError, msgspec.MsgspecError):  # such as lone surrogates, which are written in one way
        return msgspec.Raw(_text(json.loads(text, parse_float=_float, parse_constant=_float)))


def _float(text: str) -> float:
    """A number, or what Python takes for one, in JSON that msgspec does not read."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} has no form in JSON")
    return number


@lru_cache(maxsize=256)
def _kind(names: tuple[str, ...]) -> tuple[Callable[..., Any], list[int]]:
    """What makes a row's object of its values, and their places among those of all columns."""
    places = {name: place for place, name in enumerate(names)}
    fields = {f"f{place}": name for place, name in enumerate(places)}
    kind: Callable[..., Any]
    try:
        kind = msgspec.defstruct("Row", [(field, Any) for field in fields], rename=fields, gc=False)
    except ValueError:  # a name that has to be escaped

        def kind(*values: Any) -> dict[str, Any]:
            return dict(zip(places, values))

    return kind, list(places.values())
