"""The step of Celery's consumer by which tasks with an ETA wait in the broker, beside quorum queues.

It declares queues and exchanges, which is not for a worker where the broker is set up by somebody else.
"""

from typing import Any

from celery.worker.consumer import delayed_delivery

from nowait.topology import Topology


class DelayedDelivery(delayed_delivery.DelayedDelivery):
    """Celery's, where workers declare their queues."""

    def include_if(self, c: Any) -> bool:
        """False for a broker that has all of its queues already."""
        topology = c.app.conf.get("nowait_topology", Topology.declared())
        return bool(topology.declares and super().include_if(c))
