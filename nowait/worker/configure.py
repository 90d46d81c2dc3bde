"""What belongs together in a Celery application whose workers are Nowait's: set, and checked, at once."""

from pathlib import Path
from typing import Any

from celery import Celery
from celery.app.defaults import DEFAULTS

from nowait.tls import enable_hostname_verification
from nowait.topology import Topology

# What the consumer and the result backend stand on.
_NEEDED: dict[str, Any] = {
    "worker_consumer": "nowait.worker:Consumer",
    "result_backend": "nowait.worker:Results",
    # JSON alone: nothing in a message is ever turned into an object of its choice.
    "accept_content": ["json"],
    "task_serializer": "json",
    "result_serializer": "json",
}
# What an application may have decided otherwise.
_PREFERRED: dict[str, Any] = {
    # A long task must not hold back the short ones that a worker fetched with it.
    "worker_prefetch_multiplier": 1,
    # Seconds. A host that is cut off keeps its tasks from all others for that long, and half as long again.
    "broker_heartbeat": 6,
    # A broker that is away at start is waited for, like one that goes away later.
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
}


def configure(
    app: Celery, topology: Topology | None = None, *, canvas: bool = False, liveness_file: Path | None = None
) -> None:
    """Set up an application for strict workers with confirmed, timed replies. Called before its tasks are defined.

    Args:
        app: the application; settings that it has already, and that are a matter of taste, stay.
        topology: what the broker has; None for Topology.declared().
        canvas: tasks may name further tasks to send: callbacks, chains, chords.
        liveness_file: is touched while the worker consumes, or waits for the broker; None for none.

    Raises ValueError when the application has a setting that these workers cannot do with; nothing is set then.
    """
    settings: Any = app.conf
    for name, value in _NEEDED.items():
        if settings[name] not in (value, DEFAULTS[name]):
            raise ValueError(f"{name}: {settings[name]!r} is not allowed, expected {value!r} or nothing")
    preferred = {name: value for name, value in _PREFERRED.items() if settings[name] == DEFAULTS[name]}
    settings.update(
        _NEEDED,
        **preferred,
        nowait_topology=topology or Topology.declared(),
        nowait_canvas=canvas,
        nowait_liveness_file=liveness_file,
    )
    task_class: Any = app.task_cls
    if task_class == Celery.task_cls:
        app.task_cls = "nowait.worker.backend:TimedTask"
    enable_hostname_verification()
