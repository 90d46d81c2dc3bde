"""Values that the processes of a pool share: each has a file, which this process reads for all of them."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from billiard.process import current_process
from prometheus_client import CollectorRegistry

from nowait.metrics import shared_values


def share(registry: CollectorRegistry) -> None:
    """Have the metrics that are made from now on, in this process and in those that it forks, read by the registry."""
    path = Path(tempfile.mkdtemp(prefix="nowait-metrics-"))
    # Some pools end their processes after a few tasks.
    shared_values.keep(path, _place)
    shared_values.read(path, registry)
    parent = os.getpid()

    def remove() -> None:
        if os.getpid() == parent:
            shutil.rmtree(path, ignore_errors=True)

    atexit.register(remove)


def _place() -> str:
    """The number of a process in the pool; that of one that has ended goes to the next one."""
    return str(getattr(current_process(), "index", "main"))
