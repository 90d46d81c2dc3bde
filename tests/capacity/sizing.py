"""What a rate of queries takes, by arithmetic alone."""

import math
from dataclasses import dataclass

from tests.capacity.model import Costs

# Seconds of a core that a worker takes for a short query, at most: a worker alone does 564 of them in a second, while
# server, broker and database take their part of its two cores (docs/queries.md).
WORKER = 1 / 564
LOAD = 0.7  # how busy anything is to be
# As docs/worker.md has it: Celery's, the tasks', and one of the replies that take Celery's own way.
CONNECTIONS = 4
IN_FLIGHT = 1000  # NOWAIT_MAX_IN_FLIGHT


@dataclass(frozen=True)
class Size:
    """What there has to be.

    Attributes:
        rate: queries a second.
        in_flight: queries that run at once.
        servers: server processes, a core each.
        worker_cores, broker_cores: cores.
        broker_connections: of workers and servers.
        database_connections: of workers.
    """

    rate: float
    in_flight: float
    servers: int
    worker_cores: float
    broker_cores: float
    broker_connections: int
    database_connections: int


def of_workers(workers: int, threads: int, seconds: float, costs: Costs = Costs()) -> Size:
    """What so many workers serve, and what that takes elsewhere, with queries that run for so many seconds."""
    rate = workers * threads * LOAD / seconds
    in_flight = rate * seconds
    servers = max(math.ceil(rate * costs.server / LOAD), math.ceil(in_flight / LOAD / IN_FLIGHT))
    return Size(
        rate=rate,
        in_flight=in_flight,
        servers=servers,
        worker_cores=rate * WORKER / LOAD,
        broker_cores=rate * costs.broker / LOAD,
        broker_connections=workers * CONNECTIONS + servers * 2,
        database_connections=workers * threads,
    )


def erlang_c(threads: int, load: float) -> float:
    """The part of requests that wait for a thread, where `load` threads are busy on average (M/M/c)."""
    # The inverse of Erlang's B, by its recursion: no power and no factorial gets too large.
    inverse = 1.0
    for number in range(1, threads + 1):
        inverse = 1.0 + inverse * number / load
    blocked = 1.0 / inverse
    return blocked / (1.0 - load / threads * (1.0 - blocked))


def mean_wait(threads: int, rate: float, seconds: float) -> float:
    """Seconds that a request waits for a thread on average (M/M/c)."""
    load = rate * seconds
    return erlang_c(threads, load) * seconds / (threads - load)


def waiting(threads: int, busy: float, part: float) -> float:
    """What a part of the requests waits for a thread at most, in parts of a query, with threads so busy (M/M/c)."""
    waits = erlang_c(threads, busy * threads)
    if waits <= 1.0 - part:
        return 0.0
    return math.log(waits / (1.0 - part)) / (threads * (1.0 - busy))
