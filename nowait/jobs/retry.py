"""When a job that has failed is tried again. No I/O."""

import random
from dataclasses import dataclass
from typing import Any

# JSON Schema of Retry.document(), all of it optional.
RETRY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "max_retries": {"type": "integer", "minimum": 0, "maximum": 1000},
        "backoff": {"type": "number", "minimum": 0, "maximum": 86400},
        "backoff_max": {"type": "number", "minimum": 0, "maximum": 604800},
    },
    "additionalProperties": False,
}


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
        """Of document()'s result. Raises TypeError when it is something else."""
        return cls(**document)

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return dict(vars(self))

    def delay(self, failures: int) -> float | None:
        """Seconds, with jitter, until the next attempt behind so many that failed; None for never."""
        if failures > self.max_retries:
            return None
        return backoff(failures, self.backoff, self.backoff_max)


def backoff(times: int, first: float, most: float) -> float:
    """Seconds before the next try behind `times` that were in vain, 1 or more; between half of them and all."""
    return min(first * 2.0 ** min(times - 1, 60), most) * random.uniform(0.5, 1.0)
