"""Metrics of Prometheus of several processes, each with files for its values in one folder, read by one for all.

Who has metrics has the package `prometheus_client`.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # the variable that has prometheus_client keep values in files


def keep(path: Path, place: Callable[[], str]) -> None:
    """Have the metrics that this process makes from now on, and those that it forks, keep their values in files.

    Args:
        path: the folder.
        place: gives the name of this process's files: who takes the place of one that has ended goes on with its
            values. By their ids, each process would leave files behind, which are read for ever.
    """
    os.environ[FOLDER] = str(path)
    own: Any = values
    own.ValueClass = own.MultiProcessValue(place)


def read(path: Path, registry: CollectorRegistry) -> None:
    """Have a registry give what the files of a folder have."""
    registry.register(_Values(path))


def ended(path: Path, place: str) -> None:
    """The process at a place has ended: what it had at the moment counts no more, what it has counted does."""
    mark_process_dead(place, str(path))  # type: ignore[no-untyped-call]


class _Values(MultiProcessCollector):
    """The values of a folder. A file is empty for a moment when it is made, and cannot be read then."""

    def __init__(self, path: Path) -> None:
        super().__init__(None, str(path))  # type: ignore[no-untyped-call]
        self._folder = path

    def collect(self) -> Any:
        """All metrics."""
        return self.merge([str(file) for file in self._folder.glob("*.db") if _has_values(file)])  # type: ignore


def _has_values(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:  # its process has ended
        return False
