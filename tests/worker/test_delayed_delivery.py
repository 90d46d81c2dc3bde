"""The queues in which Celery has tasks with an ETA wait, beside quorum queues: where they are declared."""

from types import SimpleNamespace

import pytest
from celery import Celery
from celery.worker.consumer import Consumer as CelerysConsumer
from kombu import Queue

from nowait.topology import Topology
from nowait.worker import Consumer
from nowait.worker.delayed_delivery import DelayedDelivery


@pytest.mark.parametrize(("topology", "declared"), [(Topology.declared(), True), (Topology.clustered(), False)])
def test_they_are_declared_by_workers_that_declare_their_queues(topology: Topology, declared: bool) -> None:
    app = Celery("delayed", broker="amqp://", set_as_current=False)
    app.conf.update(
        nowait_topology=topology, task_queues=[Queue("tasks", queue_arguments={"x-queue-type": "quorum"})]
    )
    consumer = SimpleNamespace(app=app)
    assert DelayedDelivery(consumer).include_if(consumer) is declared


def test_the_step_stands_in_the_place_of_celerys() -> None:
    own, celerys = Consumer.Blueprint.default_steps, CelerysConsumer.Blueprint.default_steps
    assert [step.rpartition(":")[2] for step in own] == [step.rpartition(":")[2] for step in celerys]
    assert "nowait.worker.delayed_delivery:DelayedDelivery" in own
