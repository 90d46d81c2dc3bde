"""A named query, as the workers list it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.parameters import Parameters

MAX_CACHE = 31_536_000  # seconds: a year, beyond which HTTP knows nothing fresh


@dataclass(frozen=True)
class Query:
    """One named query.

    Attributes:
        name: its name.
        description: what it is for.
        parameters: what it takes.
        queue: the queue that its calls go to.
        idempotent: True when its task may run twice.
        broken: True when it could not work in the workers' database, as far as they know.
        cache: seconds in which an answer may be given again; 0 for none.
        coalesce: True when one call may answer all that ask for the same while it is under way.
        revision: another one where the workers have another statement of that name; "" where they do not say.
        row: JSON Schema of one of its rows, as far as the workers know it.
    """

    name: str
    description: str
    parameters: Parameters
    queue: str
    idempotent: bool
    broken: bool
    cache: float
    coalesce: bool
    revision: str
    row: Mapping[str, Any]

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> "Query":
        """The query that a worker lists.

        Raises ValueError where its answers could not be cached, KeyError, TypeError or AttributeError when it is none.
        """
        cache, idempotent = float(document.get("cache", 0)), document["repeatable"] is True
        if not 0 <= cache <= MAX_CACHE:
            raise ValueError(f"cache: seconds up to {MAX_CACHE} are expected")
        return cls(
            name=document["name"],
            description=document["description"],
            parameters=Parameters.of_schema(document["parameters"]),
            queue=document["queue"],
            idempotent=idempotent,
            broken=document.get("broken") is True,
            cache=cache,
            coalesce=idempotent and document.get("coalesce", True) is True,
            revision=str(document.get("revision", "")),
            row=dict(document.get("row") or {"type": "object"}),
        )

    def document(self) -> dict[str, Any]:
        """What clients may know of it."""
        return {
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters.schema),
            "repeatable": self.idempotent,
            "broken": self.broken,
            "cache": self.cache,
            "row": dict(self.row),
        }
