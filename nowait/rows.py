"""Rows of a database as JSON, without loss. No I/O."""

import base64
import datetime
import json
import operator
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import starmap
from typing import Any

import msgspec

# The form of all values is that of the standard library's encoder. msgspec is much faster, and writes most of them
# alike; what it writes otherwise it gets as text that is passed on, and what it refuses, it does not get.
_standard = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_encoder = msgspec.json.Encoder()
_ALIKE = {type(None), bool, int, str, bytes, Decimal, datetime.date, msgspec.Raw}


def encode_rows(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows as the text of a JSON array of objects, compact UTF-8.

    Args:
        names: of the columns; of several that are called the same, the last one counts.
        rows: the values of each row, in the order of the columns: see to_json(), and parse_json() for JSON columns.

    Raises TypeError for a value that has no JSON form.
    """
    rows = list(rows)
    try:
        return _encoder.encode(_objects(tuple(names), rows))
    except (TypeError, ValueError, msgspec.MsgspecError):  # such as lone surrogates, and names that have to be escaped
        return _text([{name: _plain(value) for name, value in zip(names, row)} for row in rows])


def parse_json(text: str) -> msgspec.Raw:
    """The value of a JSON column, to be written as it is. Raises ValueError when it is no JSON."""
    try:
        return msgspec.Raw(_encoder.encode(_decoder.decode(text)))
    except (ValueError, msgspec.MsgspecError):  # such as lone surrogates, and NaN
        return msgspec.Raw(_text(json.loads(text)))


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


def _text(value: Any) -> bytes:
    # A lone surrogate has no UTF-8 form; its backslash escape is its JSON form.
    return _standard(value).encode("utf-8", "backslashreplace")


def _plain(value: Any) -> Any:
    return json.loads(bytes(value)) if isinstance(value, msgspec.Raw) else to_json(value)


def _number(text: str) -> Any:
    """A number of a JSON column that is no integer of 64 bits."""
    number = float(text)
    return number if _has_no_exponent(number) else msgspec.Raw(_text(json.loads(text)))


_decoder = msgspec.json.Decoder(float_hook=_number)


def _objects(names: tuple[str, ...], rows: list[Sequence[Any]]) -> list[Any]:
    """What msgspec encodes as the rows' objects."""
    columns = list(zip(*rows))
    alike = [_alike(column) for column in columns]
    kind, places = _kind(names)
    if len(places) < len(columns):
        alike = [alike[place] for place in places]
    elif all(map(operator.is_, alike, columns)):
        return list(starmap(kind, rows))
    return list(map(kind, *alike))


@lru_cache(maxsize=256)
def _kind(names: tuple[str, ...]) -> tuple[Callable[..., Any], list[int]]:
    """A type whose objects have these names in JSON, and the places of its values among those of a row."""
    places = {name: place for place, name in enumerate(names)}
    fields = {f"f{place}": name for place, name in enumerate(places)}
    return msgspec.defstruct("Row", [(field, Any) for field in fields], rename=fields, gc=False), list(places.values())


def _alike(column: Sequence[Any]) -> Sequence[Any]:
    """The values of one column, none of which msgspec writes otherwise than the standard library."""
    others = set(map(type, column)) - _ALIKE
    if not others or others == {float} and all(value is None or _has_no_exponent(value) for value in column):
        return column
    if others == {datetime.datetime} and not any(value.tzinfo for value in column if value is not None):
        return column
    return [value if type(value) in _ALIKE else msgspec.Raw(_text(to_json(value))) for value in column]


def _has_no_exponent(number: float) -> bool:
    """Whether repr() writes a float as msgspec does."""
    return 1e-4 <= abs(number) < 1e16 or not number
