"""The settings of an application whose workers are Nowait's."""

from pathlib import Path
from typing import Any

import pytest
from celery import Celery, Task

from nowait.topology import Topology
from nowait.worker import configure
from nowait.worker.backend import Results, TimedTask


def application(**settings: Any) -> Any:
    app = Celery("configured", broker="memory://", set_as_current=False)
    app.conf.update(settings)
    return app


def test_an_application_gets_the_consumer_the_backend_and_timed_tasks() -> None:
    app = application()
    configure(app, Topology.provisioned(), canvas=True, liveness_file=Path("alive"))
    assert app.conf.worker_consumer == "nowait.worker:Consumer"
    assert isinstance(app.backend, Results)
    assert issubclass(app.Task, TimedTask)
    assert app.conf.worker_prefetch_multiplier == 1
    assert app.conf.nowait_topology == Topology.provisioned()
    assert (app.conf.nowait_canvas, app.conf.nowait_liveness_file) == (True, Path("alive"))


def test_what_an_application_has_decided_stays() -> None:
    class Own(Task):  # type: ignore[type-arg]
        pass

    app = application(worker_prefetch_multiplier=8, broker_heartbeat=30)
    app.task_cls = Own
    configure(app)
    assert app.conf.worker_prefetch_multiplier == 8
    assert app.conf.broker_heartbeat == 30
    assert issubclass(app.Task, Own)
    assert app.conf.nowait_topology == Topology.declared()


@pytest.mark.parametrize(
    ("name", "value"),
    [("accept_content", ["json", "pickle"]), ("task_serializer", "pickle"), ("result_backend", "redis://")],
)
def test_settings_that_the_workers_cannot_do_with_are_named(name: str, value: Any) -> None:
    app = application(**{name: value})
    with pytest.raises(ValueError, match=name):
        configure(app)
    assert app.conf[name] == value
    assert app.conf.worker_consumer == "celery.worker.consumer:Consumer"


def test_an_application_may_be_configured_twice() -> None:
    app = application()
    configure(app)
    configure(app, canvas=True)
    assert app.conf.nowait_canvas
