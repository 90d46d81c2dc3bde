"""Formats of texts that JSON Schema names (https://json-schema.org/draft/2020-12/json-schema-validation#section-7.3).

Python's own parsers take more than the formats allow: other digits, other separators, braces.
"""

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,6}))?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def parse_date_time(text: str) -> datetime:
    """A date and time of RFC 3339, in UTC. Raises ValueError.

    It has microseconds at most and no leap second, as databases have.
    """
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise ValueError("not a date and time of RFC 3339")
    day, time, fraction, sign, hours, minutes = match.groups()
    local = datetime.fromisoformat(f"{day}T{time}").replace(microsecond=int((fraction or "").ljust(6, "0")))
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        return (local + offset if sign == "-" else local - offset).replace(tzinfo=timezone.utc)
    except OverflowError as error:
        raise ValueError("outside the years 1 to 9999") from error


def _is_date(text: str) -> bool:
    return _DATE.fullmatch(text) is not None and _parses(date.fromisoformat, text)


def _is_date_time(text: str) -> bool:
    return _parses(parse_date_time, text)


def _is_uuid(text: str) -> bool:
    return _UUID.fullmatch(text) is not None


def _parses(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


_MATCHES: dict[str, Callable[[str], bool]] = {"date": _is_date, "date-time": _is_date_time, "uuid": _is_uuid}
FORMATS = tuple(_MATCHES)  # the names of those that are known


def has_format(name: str, value: object) -> bool:
    """True when a value has one of FORMATS; what is no text has any, as JSON Schema has it."""
    return not isinstance(value, str) or _MATCHES[name](value)
