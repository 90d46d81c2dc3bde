"""Jobs of the benchmark, for workers that include this module."""

import time

from tasks.jobs import Job, job


@job("nothing")
def nothing(_: Job) -> int:
    """Returns."""
    return 1


@job("nap")
def nap(_: Job) -> int:
    """Takes 10 ms."""
    time.sleep(0.01)
    return 1
