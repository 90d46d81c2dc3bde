"""A kind of job, as the workers list it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nowait.jobs.retry import Retry
from nowait.jobs.table import check_names
from server.parameters import Parameters


@dataclass(frozen=True)
class JobKind:
    """What can be asked for.

    Attributes:
        name: its name.
        description: what it is for.
        parameters: what it takes.
        queue: the queue that its workers serve.
        retry: when it is tried again, unless a client wants it otherwise.
        once: True when its effects in the database are there exactly once; False when it may run twice in full.
    """

    name: str
    description: str
    parameters: Parameters
    queue: str
    retry: Retry
    once: bool

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> "JobKind":
        """The kind that a worker lists.

        Raises ValueError when no row could hold such a job, KeyError, TypeError or AttributeError when it is no kind.
        """
        check_names(document["name"], document["queue"])
        return cls(
            name=document["name"],
            description=document["description"],
            parameters=Parameters.of_schema(document["parameters"]),
            queue=document["queue"],
            retry=Retry.parse(document["retry"]),
            once=document["once"] is True,
        )
