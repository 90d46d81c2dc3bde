"""Values of the text protocol: a column of bytes to what nowait.rows encodes. No I/O.

Each is written as the one that PyMySQL would have made of it. By columns most of the work is done in C, and what is
to be written as the database has sent it stays as it is.
"""

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any

from msgspec import Raw
from pymysql import converters
from pymysql.connections import TEXT_TYPES
from pymysql.constants import FIELD_TYPE, FLAG
from pymysql.protocol import FieldDescriptorPacket

from nowait.rows import alike, compact_json
from tasks.packets import ENCODING, Values

_BINARY = 63  # the character set of what is no text
_SEPARATOR = "\0"
_SRID_SIZE = 4  # bytes in front of a geometry's WKB, as databases keep it


@dataclass(frozen=True)
class Column:
    """A column of a result.

    Attributes:
        name: its name.
        is_text: whether its values are to be read as text rather than bytes.
        convert: makes a column as nowait.rows.encode_columns() takes it of the values of this one.
    """

    name: str
    is_text: bool
    convert: Callable[[Values], Sequence[Any]]


@lru_cache(maxsize=256)
def describe(packets: tuple[bytes, ...], json: frozenset[str]) -> list[Column]:
    """The columns of a result.

    Args:
        packets: the description of each column.
        json: the names of those that are JSON.
    """
    fields: list[Any] = [FieldDescriptorPacket(packet, ENCODING) for packet in packets]
    return [Column(field.name, *_conversion(field, field.name in json)) for field in fields]


def _conversion(field: Any, json: bool) -> tuple[bool, Callable[[Values], Sequence[Any]]]:
    if json or field.type_code == FIELD_TYPE.JSON:  # MySQL's; MariaDB's is a text
        return False, partial(_convert, compact_json)
    if field.type_code == FIELD_TYPE.GEOMETRY:
        return False, partial(_convert, _geometries)
    converter: Callable[[Any], Any] = converters.decoders.get(field.type_code, converters.through)
    if field.type_code in TEXT_TYPES and field.charsetnr == _BINARY:
        return False, _same
    if field.type_code in TEXT_TYPES:
        return True, _same
    if converter is int and not field.flags & FLAG.ZEROFILL:
        return False, partial(_convert, _integers)
    # PyMySQL's values have no zeros in front.
    by_column = None if field.flags & FLAG.ZEROFILL and converter is Decimal else _OF_COLUMNS.get(converter)
    return True, partial(_convert, by_column or partial(_each, converter))


def _convert(convert: Callable[[Any], Sequence[Any]], column: Values) -> Sequence[Any]:
    """Convert what is not NULL."""
    if None not in column:
        return convert(column)
    present = [value for value in column if value is not None]
    if not present:
        return column
    converted = iter(convert(present))
    return [None if value is None else next(converted) for value in column]


def _each(converter: Callable[[Any], Any], values: Sequence[Any]) -> list[Any]:
    return list(map(converter, values))


def _same(values: Sequence[Any]) -> Sequence[Any]:
    return values


def _geometries(values: Sequence[bytes]) -> Sequence[Any]:
    return [value[_SRID_SIZE:] for value in values]


def _integers(values: Sequence[bytes]) -> Sequence[Any]:
    return list(map(Raw, values))


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
    converters.through: _same,
    float: _floats,
    Decimal: _decimals,
    # A date that there is not stays a text, and is the same one.
    converters.convert_date: _same,
    converters.convert_datetime: _moments,
    converters.convert_timedelta: _times,
}
