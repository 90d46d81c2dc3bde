"""Who answers for the metrics: a process for itself, or for those that it has started."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric

from nowait.metrics import exposition, shared_values
from nowait.settings import HostPort
from server.lifecycle import ListenError

_PLACE = "METRICS_PLACE"  # the variable that has the place of a process among several
_PAUSE = 0.0005  # seconds


class PatientRegistry(CollectorRegistry):
    """A registry that is read a metric at a time, with a pause behind each.

    It is read by a thread: without the pauses, the loop would wait for all of it to be written, milliseconds.
    """

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        for metric in super().collect():
            yield metric
            time.sleep(_PAUSE)


class SharedFolder:
    """Where several processes keep their values, for this one to answer for all of them; until the block is left.

    Attributes:
        path: of the folder, which is new.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="nowait-metrics-"))

    def __enter__(self) -> "SharedFolder":
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def listen(self, at: HostPort) -> None:
        """Answer for all of them from now on. Raises ListenError."""
        registry = CollectorRegistry()
        shared_values.read(self.path, registry)
        listen(at, registry)

    def variables(self, place: int) -> Mapping[str, str]:
        """Of the environment of the process at a place."""
        return {shared_values.FOLDER: str(self.path), _PLACE: str(place)}

    def ended(self, place: int) -> None:
        """The process at a place has ended; another one may come."""
        shared_values.ended(self.path, str(place))


def keep_in_folder() -> Path:
    """Have the metrics of this process, one of several, be in the folder of its parent. Returns the folder."""
    path, place = Path(os.environ[shared_values.FOLDER]), os.environ[_PLACE]
    shared_values.keep(path, lambda: place)
    return path


def listen(at: HostPort, registry: CollectorRegistry) -> None:
    """Answer at an address from now on. Raises ListenError."""
    try:
        exposition.listen(at, registry)
    except OSError as error:
        raise ListenError(f"cannot listen on {at}: {error.strerror}") from error
