"""Values of the text protocol: a column of bytes to what nowait.rows encodes. No I/O.

Each is written as the one that PyMySQL would have made of it. By columns most of the work is done in C, and what is
to be written as the database has sent it stays as it is.
"""

import datetime
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from msgspec import Raw
from pymysql import converters
from pymysql.constants import FLAG

from nowait.rows import alike, parse_json

Convert = Callable[[Sequence[bytes | None]], Sequence[Any]]
_SEPARATOR = "\0"


def conversion(encoding: str | None, converter: Callable[[str], Any] | None, *, flags: int, json: bool) -> Convert:
    """What makes a column, as nowait.rows.encode_columns() takes it, of the bytes of its values.

    Args:
        encoding: of its texts; None for bytes.
        converter: PyMySQL's, of one text; None where it is to stay one.
        flags: of the column, by pymysql.constants.FLAG.
        json: True when the texts are JSON.
    """
    if json:
        return partial(_convert_texts, encoding or "utf-8", partial(_each, parse_json))
    if encoding is None:
        return tuple
    if converter is int and not flags & FLAG.ZEROFILL:
        return partial(_convert, partial(_each, Raw))
    return partial(_convert_texts, encoding, _OF_COLUMNS.get(converter) or partial(_each, converter))


def _convert(convert: Callable[[Any], Sequence[Any]], column: Sequence[bytes | None]) -> Sequence[Any]:
    """Convert what is not NULL."""
    if None not in column:
        return convert(column)
    present = [value for value in column if value is not None]
    if not present:
        return column
    converted = iter(convert(present))
    return [None if value is None else next(converted) for value in column]


def _convert_texts(encoding: str, convert: Callable[[list[str]], Any], column: Sequence[bytes | None]) -> Sequence[Any]:
    def decode_and_convert(values: Sequence[bytes]) -> Sequence[Any]:
        texts = _SEPARATOR.encode().join(values).decode(encoding).split(_SEPARATOR)
        if len(texts) != len(values):  # one of them has the separator in it
            texts = [value.decode(encoding) for value in values]
        return convert(texts)  # type: ignore[no-any-return]

    return _convert(decode_and_convert, column)


def _each(converter: Callable[[Any], Any], values: Sequence[Any]) -> list[Any]:
    return list(map(converter, values))


def _same(texts: list[str]) -> Sequence[Any]:
    return texts


def _floats(texts: list[str]) -> Sequence[Any]:
    return alike(list(map(float, texts)))


def _decimals(texts: list[str]) -> Sequence[Any]:
    """Decimal writes what is smaller than 0.000001 with an exponent."""
    return list(map(Decimal, texts)) if "0.000000" in _SEPARATOR.join(texts) else texts


def _moments(texts: list[str]) -> Sequence[Any]:
    try:
        return list(map(datetime.datetime.fromisoformat, texts))
    except ValueError:  # such as 0000-00-00 00:00:00, which stays a text
        return alike(list(map(converters.convert_datetime, texts)))


def _times(texts: list[str]) -> Sequence[Any]:
    """Fractions have no or six digits when they are written."""
    return alike(list(map(converters.convert_timedelta, texts))) if "." in _SEPARATOR.join(texts) else texts


_OF_COLUMNS: dict[Any, Callable[[list[str]], Sequence[Any]]] = {
    None: _same,
    float: _floats,
    Decimal: _decimals,
    # A date that there is not stays a text, and is the same one.
    converters.convert_date: _same,
    converters.convert_datetime: _moments,
    converters.convert_timedelta: _times,
}
