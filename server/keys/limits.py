"""How much a key may be used. No I/O."""

import math
import re
from dataclasses import dataclass, fields
from typing import Any

_RATE = re.compile(r"([1-9][0-9]{0,6})/([1-9][0-9]{0,4})")
_MOST = 1_000_000


@dataclass(frozen=True)
class Rate:
    """So many requests in so many seconds on average, and as many at once.

    So within that time, one who was quiet before may send twice as many: those at once, and those that come to be
    allowed meanwhile.
    """

    requests: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """`REQUESTS/SECONDS`. Raises ValueError."""
        match = _RATE.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not allowed, expected REQUESTS/SECONDS, such as 100/60")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.requests}/{self.seconds}"


@dataclass(frozen=True)
class Limits:
    """What all server processes of a host together allow a key; None for no limit.

    Attributes:
        rate: of requests.
        in_flight: requests that are being answered at once; those of streams and subscribers do not count.
        streams: queries whose rows are streamed at once.
        subscribers: streams of events, and consumers of queues, at once.
    """

    rate: Rate | None = None
    in_flight: int | None = None
    streams: int | None = None
    subscribers: int | None = None

    @classmethod
    def of_document(cls, document: Any) -> "Limits":
        """Of document(). Raises ValueError."""
        if not isinstance(document, dict) or not document.keys() <= {field.name for field in fields(cls)}:
            raise ValueError("limits: rate, in_flight, streams and subscribers are expected")
        given = {name: value for name, value in document.items() if value is not None}
        rate = given.pop("rate", None)
        if rate is not None and not isinstance(rate, str):
            raise ValueError("limits: a rate is REQUESTS/SECONDS")
        for name, value in given.items():
            if type(value) is not int or not 1 <= value <= _MOST:
                raise ValueError(f"limits: {name}, an integer from 1 to {_MOST} is expected")
        return cls(None if rate is None else Rate.parse(rate), **given)

    def document(self) -> dict[str, Any]:
        """As JSON has it, without what has no limit."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: str(value) if isinstance(value, Rate) else value for name, value in given.items() if value}

    def share(self, processes: int) -> "Limits":
        """Those of one process of several, which know nothing of each other; at least 1 of each."""
        rate = self.rate and Rate(max(1, self.rate.requests // processes), self.rate.seconds)
        return Limits(rate, *(_part(each, processes) for each in (self.in_flight, self.streams, self.subscribers)))


def _part(limit: int | None, processes: int) -> int | None:
    return None if limit is None else math.ceil(limit / processes)
