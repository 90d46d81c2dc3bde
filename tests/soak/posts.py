"""Numbered messages to a topic or a queue, one after the other, to each of two servers in turn."""

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.faults.messages import Publisher
from tests.soak.work import Work

_PATIENCE = 120.0  # seconds until a message counts as lost that is neither taken nor refused for good
_NOT_SENT, _CUT = 0, 1
_TAKEN, _UNKNOWN, _REFUSED, _LATE = 202, 502, 503, 504


class Posts:
    """They are sent again when they were refused, and not when they may have been taken.

    Args:
        ports: of the servers; the last one is that which is killed.
        path: of the topic or queue.
        headers: further lines of the requests.
        rate: messages a second.

    Attributes:
        confirmed: the numbers that were taken.
    """

    def __init__(self, ports: Sequence[int], path: str, headers: str, rate: float) -> None:
        self._publishers = [Publisher([port], path, headers) for port in ports]
        self._pause = 1 / rate
        self._asked = self._lost = 0
        self.confirmed: list[int] = []

    @property
    def unknown(self) -> list[int]:
        """The numbers of which nobody can say whether they were taken."""
        return [number for publisher in self._publishers for number in publisher.unknown]

    async def run(self, over: "asyncio.Future[Any]") -> None:
        """Send until it is over."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not over.done():
            await self._send(self._asked)
            self._asked += 1
            # Those that a fault has held up are not made up for.
            due = max(due + self._pause, loop.time())
            await asyncio.sleep(due - loop.time())
        for publisher in self._publishers:
            publisher.close()

    async def _send(self, number: int) -> None:
        publisher = self._publishers[number % len(self._publishers)]
        before = len(publisher.confirmed)
        try:
            await asyncio.wait_for(publisher.send(number), _PATIENCE)
        except asyncio.TimeoutError:
            self._lost += 1
        if len(publisher.confirmed) > before:
            self.confirmed.append(number)

    def work(self, name: str, kills: int) -> Work:
        """What became of the requests; `kills` is how often the last server was killed."""
        *kept, killed = [publisher.statuses for publisher in self._publishers]
        # One connection to each, with one request at most.
        cut = sum(statuses[_CUT] for statuses in kept) + max(0, killed[_CUT] - kills)
        found = Work(name, asked=self._asked, lost=self._lost + cut)
        for statuses in (*kept, killed):
            found.refused += statuses[_REFUSED]
            found.unknown += statuses[_UNKNOWN] + statuses[_CUT]
            found.late += statuses[_LATE]
            found.broken += [
                f"{count} answers {status}"
                for status, count in statuses.items()
                if status not in (_NOT_SENT, _CUT, _TAKEN, _REFUSED, _UNKNOWN, _LATE)
            ]
        return found
