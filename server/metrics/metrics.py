"""All metrics of one server process."""

import asyncio
import logging
from collections.abc import Collection, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

from nowait.settings import HostPort
from server.figures.instruments import Instruments
from server.jobs.connections import Connections
from server.lifecycle import Server
from server.metrics.calls import CallMetrics
from server.metrics.events import EventMetrics
from server.metrics.exposition import PatientRegistry, keep_in_folder, listen
from server.metrics.moment import MomentMetrics
from server.metrics.statements import figures
from server.metrics.stored import StoredMetrics
from server.metrics.turn import Turn

log = logging.getLogger(__name__)

_INTERVAL = 1.0  # seconds between two readings of this process
_STORED_INTERVAL = 15.0  # seconds between two of the database
_PAUSE = 5.0  # seconds behind an error that was not expected


class Metrics:
    """Keeps them.

    Args:
        calls: the bridge's observer.
        events: the server's observer.
        moment: reads this process.
        stored: reads the database.
        folder: where values are kept for all of several processes; None for one process.
        database_url: of the database of jobs.

    Attributes:
        calls, events: as above.
    """

    def __init__(
        self,
        calls: CallMetrics,
        events: EventMetrics,
        moment: MomentMetrics,
        stored: StoredMetrics,
        folder: Path | None,
        database_url: str,
    ) -> None:
        self.calls = calls
        self.events = events
        self._moment = moment
        self._stored = stored
        self._folder = folder
        self._database_url = database_url

    @classmethod
    def started(
        cls, at: HostPort, one_of_several: bool, message_queues: Collection[str], database_url: str
    ) -> "Metrics":
        """Those of a process alone, which answers for itself, or of one of several, whose parent does.

        Raises ListenError.
        """
        folder = keep_in_folder() if one_of_several else None
        registry = None if one_of_several else PatientRegistry()
        if registry is not None:
            listen(at, registry)
        return cls(
            CallMetrics(registry),
            EventMetrics(registry, message_queues),
            MomentMetrics(registry, message_queues),
            StoredMetrics(registry, figures()),
            folder,
            database_url,
        )

    async def run(self, server: Server) -> None:
        """Read what is to be read, until cancelled."""
        instruments = server.app.instruments
        while True:
            try:
                await _together(self._keep_setting(server), instruments.lag.run(), self._keep_reading(instruments))
            except Exception:  # the server must not depend on it, and its log should know
                log.exception("what there is at a moment could not be measured, trying again")
            await asyncio.sleep(_PAUSE)

    async def _keep_setting(self, server: Server) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        try:
            while True:
                now = loop.time()
                self._moment.set(server, now - last)
                self._flush()
                last = now
                await asyncio.sleep(_INTERVAL)
        finally:
            self._flush()

    def _flush(self) -> None:
        self.calls.flush()
        self.events.flush()

    async def _keep_reading(self, instruments: Instruments) -> None:
        """Read what is the same for all processes, if it is this one's turn."""
        with closing(Turn(self._folder)) as turn:
            while not turn.take():
                await asyncio.sleep(_INTERVAL)
            await _together(instruments.depths.run(), self._keep_depths(instruments), self._keep_stored())

    async def _keep_depths(self, instruments: Instruments) -> None:
        while True:
            self._moment.set_depths(instruments.latest_depths)
            await asyncio.sleep(_INTERVAL)

    async def _keep_stored(self) -> None:
        connections = Connections(self._database_url, most=1)
        try:
            while True:
                try:
                    await self._stored.read(connections)
                except Exception:  # the other metrics must not depend on it
                    log.exception("the database could not be read for the metrics")
                await asyncio.sleep(_STORED_INTERVAL)
        finally:
            await connections.close()


async def _together(*parts: Coroutine[Any, Any, None]) -> None:
    """Have all go on until one fails, which ends the others; raises that."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
