"""When a request's time is over."""

import time
from dataclasses import dataclass


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

    def remaining(self) -> float:
        """Seconds until then; 0 when it has passed."""
        return max(0.0, self.at - time.monotonic())
