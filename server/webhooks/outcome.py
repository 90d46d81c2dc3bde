"""What has come of an attempt to deliver a webhook, and when there is another. No I/O."""

import random
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from nowait.jobs.table import Delivery

# Seconds between two attempts: those of the specification, up to the one that makes it more than a day, 31.6 hours.
PAUSES = (5.0, 300.0, 1800.0, 2 * 3600.0, 5 * 3600.0, 10 * 3600.0, 14 * 3600.0)
_JITTER = 0.1  # of a pause, more or less
_LONGEST = 86400.0  # seconds that a receiver may put it off
_GONE, _TOO_MANY, _UNAVAILABLE = 410, 429, 503

TIMEOUT = "timeout"
UNREACHABLE = "unreachable"  # no address, or no connection
ADDRESS_REFUSED = "address-refused"
TLS = "tls"  # the certificate, most of the time
BROKEN = "broken-answer"  # cut off, larger than it may be, or no HTTP
ERROR = "error"  # here
OUTCOMES = (TIMEOUT, UNREACHABLE, ADDRESS_REFUSED, TLS, BROKEN, ERROR)  # without an answer

_ANSWER = "http-"


def is_answer(kind: str) -> bool:
    """True for that of an attempt that was answered, in whatever way."""
    return kind.startswith(_ANSWER)


@dataclass(frozen=True)
class Outcome:
    """Of one attempt.

    Attributes:
        kind: one of the words above, or `http-` and the status of the answer.
        status: of the answer; None for none.
        retry_after: seconds that the receiver wants to be left alone; None when it does not say.
    """

    kind: str
    status: int | None = None
    retry_after: float | None = None

    @classmethod
    def of_status(cls, status: int, retry_after: str | None, now: datetime) -> "Outcome":
        """Of an answer.

        Args:
            status: its status.
            retry_after: its header; None for none.
            now: with a time zone, for a header that has a date.
        """
        wait = None if retry_after is None or status not in (_TOO_MANY, _UNAVAILABLE) else _seconds(retry_after, now)
        return cls(f"{_ANSWER}{status}", status, wait)

    @property
    def good(self) -> bool:
        """True when the receiver has the message."""
        return self.status is not None and 200 <= self.status < 300

    def verdict(self, noted: int) -> tuple[Delivery, float]:
        """The state of the delivery behind this attempt, and seconds until the next; 0 for none.

        Args:
            noted: attempts whose outcome is known, with this one.
        """
        if self.good:
            return Delivery.DELIVERED, 0.0
        if self.status == _GONE or noted > len(PAUSES):
            return Delivery.FAILED, 0.0
        pause = PAUSES[noted - 1] * random.uniform(1 - _JITTER, 1 + _JITTER)
        return Delivery.PENDING, max(pause, self.retry_after or 0.0)


def _seconds(header: str, now: datetime) -> float | None:
    """RFC 9110, 10.2.3; None for what is neither seconds nor a date."""
    if re.fullmatch("[0-9]+", header):
        return min(float(header[:9]), _LONGEST)
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return min(max((moment - now).total_seconds(), 0.0), _LONGEST)
