"""The server of the fault tests of webhooks: its names lead to loopback, its schedule is short, it notes what it
connects to and leaves all else alone, and it ends itself between an answer and its note.
"""

import json
import os
import socket
import ssl
import sys
from functools import partial
from typing import Any

import server.__main__
import server.app
from server.webhooks import deliveries, outcome, sender
from server.webhooks.deliverer import Deliverer
from server.webhooks.deliveries import Attempt
from server.webhooks.outcome import Outcome
from server.webhooks.resolver import GuardedResolver
from server.webhooks.sender import Sender
from tests.faults.jobs.failpoints import DELIVERED, Failpoints
from tests.faults.jobs.respawn import respawn
from tests.faults.receivers import Connects, Names

points = Failpoints.of_environment()


class FailingDeliverer(Deliverer):
    async def _note(self, attempt: Attempt, found: Outcome) -> None:
        points.hit(DELIVERED)
        await super()._note(attempt, found)


def main() -> int:
    """Run it until it ends by itself."""
    given: dict[str, Any] = json.loads(os.environ["NOWAIT_TEST_WEBHOOKS"])
    setattr(outcome, "PAUSES", tuple(given["pauses"]))
    setattr(sender, "_TIMEOUT", given["timeout"])
    setattr(deliveries, "LEASE", given["lease"])
    tls = ssl.create_default_context(cafile=given["ca"])
    setattr(server.app, "Deliverer", FailingDeliverer)
    setattr(server.app, "GuardedResolver", partial(GuardedResolver, lookup=Names(given["addresses"])))
    setattr(server.app, "Sender", partial(Sender, tls=tls))
    noted = os.open(given["connects"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    connects = Connects(lambda address: _write(noted, address))
    setattr(socket.socket, "connect", lambda sock, address: connects.connect(sock, address))
    return respawn(server.__main__.main, 1.0)


def _write(file: int, line: str) -> None:
    os.write(file, f"{line}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
