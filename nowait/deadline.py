"""When the time of a request or a task is over, in each form that it takes on its way."""

import contextlib
import re
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

from celery.utils.time import maybe_iso8601

# As datetime.isoformat writes it.
_USUAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3,6})?([+-]\d\d:\d\d)?", re.ASCII)


@dataclass(frozen=True)
class Deadline:
    """A moment on the monotonic clock, made once and passed along.

    Attributes:
        at: seconds, as time.monotonic() counts them.
    """

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """The moment that is `seconds` from now."""
        return cls(time.monotonic() + seconds)

    @classmethod
    def of_expires(cls, expires: Any) -> "Deadline | None":
        """The moment of a task's `expires`: ISO 8601 text or a datetime, UTC where it names no zone; None for none.

        The clocks of the hosts are to agree, as for Celery's own `expires`.
        """
        return cls.after(seconds_until(expires, datetime.now(timezone.utc))) if expires else None

    def remaining(self) -> float:
        """Seconds until then; 0 when it has passed."""
        return max(0.0, self.at - time.monotonic())


def seconds_until(expires: Any, now: datetime) -> float:
    """Seconds from `now` to a task's `expires`, negative when it has passed.

    Args:
        expires: seconds, ISO 8601 text, or a datetime; without a time zone it is in that of `now`.
        now: with a time zone.
    """
    if isinstance(expires, (int, float)):
        return float(expires)
    moment = expires if isinstance(expires, datetime) else parse_moment(expires)
    aware = moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
    # Within one time zone, Python would subtract what clocks on the wall show.
    return (aware - now.astimezone(timezone.utc)).total_seconds()


@lru_cache(maxsize=64)  # a message's is read by its validation, and then again
def parse_moment(text: str) -> datetime:
    """A moment in Celery's messages: ISO 8601 text. Raises ValueError."""
    if _USUAL.fullmatch(text):
        # Celery's own parser takes 15 times as long.
        with contextlib.suppress(ValueError):  # Python 3.10 reads less of it
            return datetime.fromisoformat(text)
    try:
        moment: datetime | None = maybe_iso8601(text)
    except OverflowError as error:  # it is behind the last day of the year 9999
        raise ValueError("there is no such day") from error
    if moment is None:
        raise ValueError("an empty text is no moment")
    return moment


def to_expires(seconds: float, now: datetime) -> str:
    """The header `expires` of a task that is over in `seconds`: ISO 8601, in the time zone of `now`."""
    # Across a change to or from summer time, clocks on the wall are an hour off.
    moment = now.astimezone(timezone.utc) + timedelta(seconds=seconds)
    return moment.astimezone(now.tzinfo).isoformat()


def to_expiration(seconds: float) -> str:
    """The property `expiration` of a message that is of no use after `seconds`: whole milliseconds."""
    return str(int(seconds * 1000))
