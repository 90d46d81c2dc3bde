"""Why an attempt has failed: what clients may know, and whether another one may do better. No I/O."""

from dataclasses import dataclass
from typing import Any

from nowait.errors import ResultTooLarge
from tasks.jobs.lease import TimeLimitExceeded
from tasks.jobs.results import LARGEST
from tasks.parameters import BadParameters


class UnknownJob(LookupError):
    """There is no job of that name on this worker."""


class NoResult(ValueError):
    """What the function has returned has no form in JSON."""


class TransactionEnded(RuntimeError):
    """The function has ended its transaction, or goes on where the database has: what came before may be committed."""


@dataclass(frozen=True)
class Failure:
    """What has gone wrong, in fixed texts.

    Attributes:
        kind: the end of its URN.
        title: the kind, in words.
        detail: more words.
        retried: False when another attempt would fail as well, or must not be.
    """

    kind: str
    title: str
    detail: str
    retried: bool = True

    def document(self) -> dict[str, Any]:
        """As a problem object (RFC 9457)."""
        return {"type": f"urn:problem-type:nowait:{self.kind}", "title": self.title, "detail": self.detail}


_FAILED = Failure("task-failed", "Job failed", "The job failed; the workers' log has the reason under its id.")
_OF_ERRORS: dict[type[Exception], Failure] = {
    UnknownJob: Failure("no-job", "No job", "The workers have no job of that name."),
    BadParameters: Failure("bad-parameters", "Bad parameters", "The workers' job does not take these parameters."),
    TimeLimitExceeded: Failure("time-limit", "Time limit exceeded", "The job took longer than it may."),
    ResultTooLarge: Failure(
        "result-too-large", "Result too large", f"The job's result is larger than {LARGEST} bytes.", retried=False
    ),
    NoResult: Failure("no-result", "No result", "The job's result has no form in JSON.", retried=False),
    TransactionEnded: Failure(_FAILED.kind, _FAILED.title, _FAILED.detail, retried=False),
}


def failure_of(error: Exception) -> Failure:
    """What an attempt that has raised this has failed by."""
    return next((failure for kind, failure in _OF_ERRORS.items() if isinstance(error, kind)), _FAILED)
