"""When two answers are the same. No I/O."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.query import Query


@dataclass(frozen=True)
class AnswerKey:
    """What an answer depends on: where it is equal for two requests, both may be given the same one.

    Attributes:
        owner: who asks.
        query: the query's name.
        revision: of the query, as the workers list it.
        parameters: all of its parameters, as JSON; 1, 1.0, "1" and true are four different values.
    """

    owner: str
    query: str
    revision: str
    parameters: str

    @classmethod
    def of(cls, owner: str, query: Query, parameters: Mapping[str, Any]) -> "AnswerKey":
        """That of a call with these parameters; those that are left out have their defaults."""
        bound = {**query.parameters.defaults, **parameters}
        return cls(owner, query.name, query.revision, json.dumps(bound, sort_keys=True))

    @property
    def size(self) -> int:
        """Bytes."""
        # The JSON is ASCII.
        return len(self.parameters) + 4 * (len(self.owner) + len(self.query) + len(self.revision))
