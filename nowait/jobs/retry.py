"""When a job that has failed is tried again. No I/O."""

import random
from dataclasses import dataclass
from typing import Any

MAX_RETRIES = 100
MAX_BACKOFF = 7 * 86400.0  # seconds


class BadRetry(ValueError):
    """What is no Retry; the text begins with `retry` and the member, and has what is expected."""


@dataclass(frozen=True)
class Retry:
    """Celery's words: https://docs.celeryq.dev/en/stable/userguide/tasks.html#automatic-retry-for-known-exceptions.

    Attributes:
        max_retries: how often it is tried again, 0 for never.
        backoff: seconds before the first time; twice as many before each further one.
        backoff_max: seconds, at most.
    """

    max_retries: int = 0
    backoff: float = 1.0
    backoff_max: float = 600.0

    @classmethod
    def of_document(cls, document: Any) -> "Retry":
        """Of document()'s result, as a row has it. Raises TypeError when it is something else."""
        return cls(**document)

    @classmethod
    def parse(cls, value: Any) -> "Retry":
        """As members() of what somebody has written, with the defaults. Raises BadRetry."""
        return cls(**members(value))

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return dict(vars(self))

    def delay(self, failures: int) -> float | None:
        """Seconds, with jitter, until the next attempt behind so many that failed; None for never."""
        if failures > self.max_retries:
            return None
        return backoff(failures, self.backoff, self.backoff_max)


def members(value: Any) -> dict[str, Any]:
    """The members of a Retry that a value has, any or none of them; null is none. Raises BadRetry."""
    if not isinstance(value, dict):
        raise BadRetry("retry: an object is expected.")
    known = tuple(Retry().document())
    for member in value:
        if member not in known:
            raise BadRetry(f"retry.{str(member)[:100]}: there is no such member; there is {', '.join(known)}.")
    given = {member: each for member, each in value.items() if each is not None}
    times = given.get("max_retries", 0)
    # To JSON Schema, 3.0 is an integer, too.
    if not _is_number(times, int, float) or not 0 <= times <= MAX_RETRIES or times != int(times):
        raise BadRetry(f"retry.max_retries: an integer from 0 to {MAX_RETRIES} is expected.")
    if "max_retries" in given:
        given["max_retries"] = int(times)
    for member in ("backoff", "backoff_max"):
        if member not in given:
            continue
        # No NaN is between two numbers.
        if not _is_number(given[member], int, float) or not 0 <= given[member] <= MAX_BACKOFF:
            raise BadRetry(f"retry.{member}: seconds from 0 to {MAX_BACKOFF:.0f} are expected.")
        given[member] = float(given[member])
    return given


def backoff(times: int, first: float, most: float) -> float:
    """Seconds before the next try behind `times` that were in vain, 1 or more; between half of them and all."""
    return min(first * 2.0 ** min(times - 1, 60), most) * random.uniform(0.5, 1.0)


def _is_number(value: Any, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)
