"""What a server has, as far as who reads the document may know. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from server.jobs.kind import JobKind
from server.query import Query


@dataclass(frozen=True)
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
