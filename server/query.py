"""A named query, as the workers list it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.parameters import Parameters


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
        row: JSON Schema of one of its rows, as far as the workers know it.
    """

    name: str
    description: str
    parameters: Parameters
    queue: str
    idempotent: bool
    broken: bool
    row: Mapping[str, Any]

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> "Query":
        """The query that a worker lists. Raises KeyError, TypeError or AttributeError when it is none."""
        return cls(
            name=document["name"],
            description=document["description"],
            parameters=Parameters.of_schema(document["parameters"]),
            queue=document["queue"],
            idempotent=document["repeatable"] is True,
            broken=document.get("broken") is True,
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
            "row": dict(self.row),
        }
