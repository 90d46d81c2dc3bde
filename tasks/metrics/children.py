"""Values that the processes of a pool share: each has a file, which this process reads for all of them."""

import atexit
import os
import shutil
import tempfile
from typing import Any

from billiard.process import current_process
from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def share(registry: CollectorRegistry) -> None:
    """Have the metrics that are made from now on, in this process and in those that it forks, read by the registry."""
    path = os.environ[_FOLDER] = tempfile.mkdtemp(prefix="nowait-metrics-")
    own: Any = values
    own.ValueClass = own.MultiProcessValue(_place)
    MultiProcessCollector(registry, path)  # type: ignore[no-untyped-call]
    parent = os.getpid()

    def remove() -> None:
        if os.getpid() == parent:
            shutil.rmtree(path, ignore_errors=True)

    atexit.register(remove)


def _place() -> str:
    """The name of this process's file: who takes the place of another one goes on with its values.

    By its id, each process would leave a file behind, and some pools end theirs after a few tasks.
    """
    return str(getattr(current_process(), "index", "main"))
