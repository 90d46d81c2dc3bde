"""Database values as JSON values, without loss."""

import base64
import datetime
from decimal import Decimal
from typing import Any


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
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return _time(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"no JSON form for {type(value).__name__}")


def _time(value: datetime.timedelta) -> str:
    sign = "-" if value < datetime.timedelta() else ""
    value = abs(value)
    minutes, seconds = divmod(value.days * 86400 + value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{value.microseconds:06d}" if value.microseconds else ""
    return f"{sign}{hours:02d}:{minutes:02d}:{seconds:02d}{fraction}"
