"""What a server has, as far as who reads the document may know. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import is_
from typing import Any

from server.jobs.kind import JobKind
from server.query import Query


@dataclass(frozen=True, eq=False)
class Offer:
    """What operations are declared of.

    Attributes:
        queries: those that the workers list.
        kinds: of jobs, that they list.
        topics: their names.
        queues: their names.
        webhooks: whether jobs may have them.
        demo: whether it is one: it takes no requests that pages of other sites send.
        keys: whether requests need a key. The document needs none: it names no query, job, topic or queue then.
    """

    queries: Sequence[Query] = ()
    kinds: Sequence[JobKind] = ()
    topics: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()
    webhooks: bool = False
    demo: bool = False
    keys: bool = False

    def is_same(self, other: "Offer") -> bool:
        """True for one of the very same queries and kinds: to look into hundreds of them takes a tenth of a second."""
        return (
            _are(self.queries, other.queries)
            and _are(self.kinds, other.kinds)
            and (self.topics, self.queues, self.webhooks, self.demo, self.keys)
            == (other.topics, other.queues, other.webhooks, other.demo, other.keys)
        )


def _are(some: Sequence[Any], others: Sequence[Any]) -> bool:
    return len(some) == len(others) and all(map(is_, some, others))
