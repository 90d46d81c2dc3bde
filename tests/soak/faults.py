"""The faults, and the order in which they come."""

import random
from collections.abc import Awaitable, Callable
from functools import partial

from tests.soak.stack import KILLED, SoakStack

Fault = Callable[[SoakStack], Awaitable[None]]

FAULTS: dict[str, Fault] = {
    "worker killed": lambda stack: stack.restart_worker(KILLED),
    "worker ended": lambda stack: stack.replace_worker(KILLED),
    "server killed": lambda stack: stack.restart_server(KILLED),
    "server cut off from the broker": lambda stack: stack.cut(2),
    "broker killed": lambda stack: stack.restart_broker(),
    "broker stopped for 10 s": lambda stack: stack.freeze(stack.broker.process, 10),
    "database killed": lambda stack: stack.restart_database(),
    "connections to the database killed": lambda stack: stack.kill_connections(),
    "database slow for 15 s": partial(SoakStack.slow_database, seconds=15),
}


def plan(seed: int, count: int) -> list[str]:
    """So many faults, by their names: all of them in a random order, then all in another one."""
    draw = random.Random(seed)
    found: list[str] = []
    while len(found) < count:
        found += draw.sample(list(FAULTS), len(FAULTS))
    return found[:count]


def moments(seconds: float, every: float) -> list[float]:
    """When faults begin, in seconds since the begin: the last one early enough for half an interval behind it."""
    count = max(1, int((seconds - every / 2) // every))
    return [every * number for number in range(1, count + 1)]
