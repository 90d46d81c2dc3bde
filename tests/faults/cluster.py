"""Three RabbitMQ nodes on one machine, as one cluster.

The others join the first (https://www.rabbitmq.com/docs/clustering#creating): to find each other by
their configuration, nodes of RabbitMQ 4 have to be up before the first is ready. They look twice a
second whether the others are alive; with RabbitMQ's own 5 seconds, it may take as long until a queue
has a new leader.
"""

from pathlib import Path

from deploy.local.broker import Broker

SIZE = 3
_ADVANCED = "[{aten, [{poll_interval, 500}]}]."  # milliseconds


class Cluster:
    """The nodes. Queues of type quorum outlive the loss of any one of them.

    Attributes:
        nodes: the brokers.
    """

    def __init__(self, folder: Path) -> None:
        first = Broker(folder / "0", advanced=_ADVANCED)
        others = (Broker(folder / str(number), advanced=_ADVANCED, beside=first) for number in range(1, SIZE))
        self.nodes = [first, *others]

    def start(self) -> None:
        """Start all nodes and wait until they are one cluster."""
        first, *others = self.nodes
        # By itself: it makes the cookie that all share.
        first.start()
        first.wait_ready()
        for node in others:
            node.start()
        for node in others:
            node.wait_ready()
        for node in others:
            # One at a time: a node that joins changes what the next one joins.
            for step in (["stop_app"], ["join_cluster", first.node], ["start_app"]):
                node.control(*step)

    def stop(self) -> None:
        """Stop all nodes at once."""
        for node in reversed(self.nodes):
            node.terminate()
        for node in reversed(self.nodes):
            node.stop()

    def url(self, first: int = 0) -> str:
        """The URLs of all nodes, beginning with one of them."""
        return ";".join(node.url for node in self.nodes[first:] + self.nodes[:first])

    def leader(self, queue: str, vhost: str = "/") -> Broker | None:
        """The node that leads a quorum queue, once all nodes take part; None before."""
        for node in self.nodes:
            if node.process.returncode is None:
                break
        columns = ("name", "leader", "online", "--no-table-headers")
        for line in node.control("list_queues", "--vhost", vhost, *columns).splitlines():
            name, leader, online = line.split("\t")
            if name == queue and all(node.node in online for node in self.nodes):
                return next(node for node in self.nodes if node.node == leader)
        return None
