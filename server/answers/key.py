"""When two answers are the same. No I/O."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from sys import getsizeof
from typing import Any

from server.query import Query


@dataclass(frozen=True)
class AnswerKey:
    """What an answer depends on: where it is equal for two requests, both may be given the same one.

    Who asks is no part of it: whether a client may run the query was decided before, and its rows are those of all.

    Attributes:
        query: the query's name.
        revision: of the query, as the workers list it.
        parameters: all of its parameters, as text: 1, 1.0, "1" and True are four different values.
    """

    query: str
    revision: str
    parameters: str

    @classmethod
    def of(cls, query: Query, parameters: Mapping[str, Any]) -> "AnswerKey":
        """That of a call with these parameters; those that are left out have their defaults."""
        bound = {**query.parameters.defaults, **parameters}
        return cls(query.name, query.revision, repr(sorted(bound.items())))

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(map(getsizeof, astuple(self)))
