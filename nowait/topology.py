"""What the workers and the broker agree on: queues, exchanges, users, TLS. No I/O."""

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kombu import Exchange, Queue
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.pyamqp import SSLTransport

DEAD = "queries.dead"


@dataclass(frozen=True)
class Routes:
    """Where messages come from and go to.

    Attributes:
        declare: the workers declare their queues.
        replies: the exchange that takes replies, by the name of their queue; "" for the default one.
        dead: the exchange that takes refused messages; "" for the default one.
        sender: the broker's user whose tasks are run; None for anybody's.
        user: the broker's user that the workers are; None when it does not matter.
    """

    declare: bool = True
    replies: str = ""
    dead: str = ""
    sender: str | None = None
    user: str | None = None

    def stamp(self) -> dict[str, str]:
        """The properties of a message that tell whom it is from; the broker refuses a lie."""
        return {} if self.user is None else {"user_id": self.user}

    def queues(self, names: Iterable[str]) -> list[Queue]:
        """The queues of these names, as the workers consume them."""
        return [
            Queue(name, Exchange(name), routing_key=name, no_declare=None if self.declare else True)
            for name in sorted(names)
        ]


# A broker that knows nothing of Nowait, and one with the definitions of deploy/broker/definitions.json.
PLAIN = Routes()
DEFINED = Routes(declare=False, replies="replies", dead="dead", sender="server", user="worker")


class VerifyingTransport(SSLTransport):
    """amqps:// with the host's name verified.

    py-amqp verifies it only when it is told the name, and kombu tells that of the first URL for all.
    """

    def establish_connection(self) -> Any:
        """Connect; raises what kombu's own does."""
        client: Any = self.client
        options = client.ssl if isinstance(client.ssl, dict) else {"cert_reqs": ssl.CERT_REQUIRED}
        client.ssl = {**options, "server_hostname": client.hostname}
        return super().establish_connection()


def verify_hosts() -> None:
    """Have kombu use VerifyingTransport for amqps://."""
    TRANSPORT_ALIASES["amqps"] = f"{__name__}:{VerifyingTransport.__name__}"
