"""Points at which a process ends itself, as if its host had been lost there.

A folder has the orders, which all processes read at each point that they come by, and the counts.
"""

import os
import random
import signal
from collections.abc import Mapping
from pathlib import Path

# In the order in which a job comes by. What comes before the comma is the program; the relay is the server's.
SERVER = (
    "server, after INSERT before COMMIT",
    "server, after COMMIT before the message",
    "server, after the message before its confirm",
    "server, after the confirm before its mark",
    "relay, after SELECT",
    "relay, after COMMIT before the message",
    "relay, after the confirm before its mark",
)
WORKER = (
    "worker, at delivery",
    "worker, after the claim",
    "worker, after the first effect",
    "worker, after the last effect before the fence",
    "worker, after COMMIT before the reply",
    "worker, after the reply before the acknowledgement",
)
BEAT = (
    "beat, after the lock",
    "beat, after INSERT before the move",
    "beat, before COMMIT",
    "beat, after COMMIT",
)
FROZEN_BEAT = "beat, stopped after the lock"
DELIVERED = "server, after the answer to a webhook before its note"
ZOMBIE = "worker, without heartbeats until another has the job"
FROZEN = "worker, stopped for two leases"
ALL = (*SERVER, *WORKER, ZOMBIE, FROZEN)
# Of the points that few jobs come by, or many at once. All others bite each twentieth time.
USUAL = 0.05
PROBABILITIES = {
    "server, after the confirm before its mark": 0.5,
    "relay, after SELECT": 0.1,
    "relay, after the confirm before its mark": 0.2,
    FROZEN: 0.1,
}


class Failpoints:
    """The points of one test.

    Args:
        folder: of the orders and counts, which is there.
        seed: of the draws.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed
        self._random: random.Random | None = None

    @classmethod
    def of_environment(cls) -> "Failpoints":
        """Those of the test that has started this process."""
        return cls(Path(os.environ["NOWAIT_TEST_FAILPOINTS"]), int(os.environ["NOWAIT_TEST_SEED"]))

    def settings(self) -> dict[str, str]:
        """What of_environment() reads, as settings of tests.conftest's `start`."""
        return {"test_failpoints": str(self._folder), "test_seed": str(self._seed)}

    def order(self, probabilities: Mapping[str, float], times: int) -> None:
        """Have each of these points bite with its probability, until it has bitten so many times, or a few more."""
        for name, probability in probabilities.items():
            (self._folder / name).write_text(f"{probability} {times}")

    def bites(self, name: str) -> int:
        """How often a point has bitten."""
        file = self._count(name)
        return file.stat().st_size if file.exists() else 0

    def bite(self, name: str) -> bool:
        """Does it bite now? Counted, if so."""
        order = self._folder / name
        if not order.exists():
            return False
        probability, times = order.read_text().split()
        if self._draw() >= float(probability) or self.bites(name) >= int(times):
            return False
        with self._count(name).open("ab", buffering=0) as file:
            file.write(b".")
        return True

    def hit(self, name: str) -> None:
        """End this process, if the point bites."""
        if self.bite(name):
            os.kill(os.getpid(), signal.SIGKILL)

    def freeze(self, name: str) -> None:
        """Stop this process, if the point bites: somebody else has to let it go on."""
        if self.bite(name):
            os.kill(os.getpid(), signal.SIGSTOP)

    def _draw(self) -> float:
        if self._random is None:  # each process begins anew, and draws other numbers
            self._random = random.Random(f"{self._seed} {sum(map(self.bites, (*ALL, *BEAT, FROZEN_BEAT, DELIVERED)))}")
        return self._random.random()

    def _count(self, name: str) -> Path:
        return self._folder / f"{name}.count"
