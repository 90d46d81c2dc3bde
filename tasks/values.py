"""Values of the text protocol: a column of bytes to what nowait.rows writes. No I/O.

Each value is written as the one that PyMySQL would give. By columns, most of the work is done in C; and a text that
is to be written as it is stays one.
"""

import datetime
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from pymysql import converters

from nowait.rows import parse_json

Column = Sequence[bytes | None]
Convert = Callable[[Column], Sequence[Any]]
_SEPARATOR = "\0"


def conversion(encoding: str | None, converter: Callable[[str], Any] | None, json: bool) -> Convert:
    """How the values of a column become what they are for Python.

    Args:
        encoding: of its texts; None for bytes.
        converter: PyMySQL's, of one text; None where it is to stay one.
        json: True when the texts are JSON.
    """
    if json:
        return partial(_convert, encoding or "utf-8", partial(_each, parse_json))
    if encoding is None:
        return tuple
    return partial(_convert, encoding, _OF_COLUMNS.get(converter) or partial(_each, converter))


def _convert(encoding: str, convert: Callable[[list[str]], list[Any]], column: Column) -> Sequence[Any]:
    present = [value for value in column if value is not None] if None in column else column
    if not present:
        return column
    values = convert(_decode(encoding, present))  # type: ignore[arg-type]
    if present is column:
        return values
    remaining = iter(values)
    return [None if value is None else next(remaining) for value in column]


def _decode(encoding: str, values: Sequence[bytes]) -> list[str]:
    texts = _SEPARATOR.encode().join(values).decode(encoding).split(_SEPARATOR)
    # One of them has the separator in it.
    return texts if len(texts) == len(values) else [value.decode(encoding) for value in values]


def _each(converter: Callable[[str], Any], texts: list[str]) -> list[Any]:
    return list(map(converter, texts))


def _same(texts: list[str]) -> list[str]:
    return texts


def _decimals(texts: list[str]) -> list[Any]:
    """Decimal writes what is smaller than 0.000001 with an exponent."""
    return list(map(Decimal, texts)) if "0.000000" in _SEPARATOR.join(texts) else texts


def _moments(texts: list[str]) -> list[Any]:
    try:
        return list(map(datetime.datetime.fromisoformat, texts))
    except ValueError:  # such as 0000-00-00 00:00:00, which stays a text
        return list(map(converters.convert_datetime, texts))


def _times(texts: list[str]) -> list[Any]:
    """Fractions have no or six digits when they are written."""
    return list(map(converters.convert_timedelta, texts)) if "." in _SEPARATOR.join(texts) else texts


_OF_COLUMNS: dict[Any, Callable[[list[str]], list[Any]]] = {
    None: _same,
    Decimal: _decimals,
    # A date that there is not stays a text, and is the same one.
    converters.convert_date: _same,
    converters.convert_datetime: _moments,
    converters.convert_timedelta: _times,
}
