"""The address of the metrics: https://prometheus.io/docs/instrumenting/exposition_formats/."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, disable_created_metrics, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from nowait.settings import HostPort
from server.lifecycle import ListenError

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # the variable by which prometheus_client has its values in files
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
        variables: of the environment of those processes.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="nowait-metrics-"))
        self.variables = {FOLDER: str(self.path)}

    def __enter__(self) -> "SharedFolder":
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def listen(self, at: HostPort) -> None:
        """Answer for all of them from now on. Raises ListenError."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self.path))  # type: ignore[no-untyped-call]
        listen(at, registry)

    def ended(self, pid: int) -> None:
        """One of the processes has ended: what it had at the moment counts no more, what it has counted does."""
        mark_process_dead(pid, str(self.path))  # type: ignore[no-untyped-call]


def listen(at: HostPort, registry: CollectorRegistry) -> None:
    """Answer at an address from now on, by a thread, which also answers while a loop is held up. Raises ListenError."""
    # A series beside each, for nobody: with the values in files there is none.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    try:
        start_http_server(at.port, at.host, registry)
    except OSError as error:
        raise ListenError(f"cannot listen on {at}: {error.strerror}") from error
