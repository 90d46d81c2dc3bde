"""The jobs that a worker has, by name."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from nowait.jobs.retry import BadRetry, Retry
from nowait.jobs.table import check_names
from tasks.jobs.job import Job
from tasks.parameters import BadSchema, Parameters

QUEUE = "queries.jobs"
TIME_LIMIT = 3600.0  # seconds

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Definition:
    """One job, of any kind. Raises ValueError when no row could hold it.

    Attributes:
        name: of the job.
        description: what it is for, "" for none.
        parameters: what it takes.
        run: is called with the attempt, and the parameters as the row has them; returns the result.
        retry: when it is tried again, unless whoever adds it decides.
        queue: that its workers serve.
        time_limit: seconds that each attempt may take.
        once: its effects are there once; False where they may be there for each attempt.
    """

    name: str
    description: str
    parameters: Parameters
    run: Callable[[Job, Any], Any]
    retry: Retry = Retry()
    queue: str = QUEUE
    time_limit: float = TIME_LIMIT
    once: bool = True

    def __post_init__(self) -> None:
        check_names(self.name, self.queue)

    def document(self) -> dict[str, Any]:
        """What others may know of it, as JSON values."""
        return {
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters.schema,
            "queue": self.queue,
            "retry": self.retry.document(),
            "once": self.once,
        }


class Registry:
    """Jobs by name."""

    def __init__(self) -> None:
        self._definitions: dict[str, Definition] = {}

    def __repr__(self) -> str:
        return f"<Registry {len(self._definitions)} jobs>"

    def add(self, definition: Definition) -> None:
        """Have a job. Raises ValueError when there is another one of its name."""
        if definition.name in self._definitions:
            raise ValueError(f"there is another job that is called {definition.name}")
        self._definitions[definition.name] = definition

    def find(self, name: str) -> Definition | None:
        """The job of that name; None for none."""
        return self._definitions.get(name)

    def definitions(self) -> list[Definition]:
        """All of them."""
        return list(self._definitions.values())

    def job(
        self,
        name: str,
        *,
        parameters: dict[str, Any] | None = None,
        max_retries: int = Retry.max_retries,
        backoff: float = Retry.backoff,
        backoff_max: float = Retry.backoff_max,
        queue: str = QUEUE,
        time_limit: float = TIME_LIMIT,
    ) -> Callable[[F], F]:
        """Decorates a function (job, **parameters) that is run as a durable job: what it returns is the result.

        It is run again where that helps, after a deadlock or with another worker: what it does by `job.connection`
        is there once all the same. Its docstring is its description.

        Args:
            name: of the job.
            parameters: JSON Schema of each, by name, as of named queries; those without a default are required. A
                date and time arrives as a datetime, UTC without a zone. None for none.
            max_retries: how often it is tried again when it raises; backoff: seconds before the first time, twice as
                many before each further one, backoff_max at most. Whoever adds a job may decide otherwise.
            queue: that its workers serve.
            time_limit: seconds that each attempt may take.

        Raises ValueError when there is another job of that name, or one of these is not as it should be.
        """
        try:
            expected = Parameters.of(name, parameters or {})
            retry = Retry.parse({"max_retries": max_retries, "backoff": backoff, "backoff_max": backoff_max})
        except (BadSchema, BadRetry) as error:
            raise type(error)(f"job {name}: {error}") from None

        def register(function: F) -> F:
            def run(job: Job, given: Any) -> Any:
                return function(job, **expected.bind(given))

            description = inspect.getdoc(function) or ""
            self.add(Definition(name, description, expected, run, retry, queue, time_limit))
            return function

        return register


registry = Registry()
job = registry.job
