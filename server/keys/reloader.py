"""Keys that are read again when their file has changed."""

import asyncio
import logging

from server.keys.file import KeyFile, KeyFileError
from server.keys.gate import Gate
from server.keys.keyring import Keyring

log = logging.getLogger(__name__)

_INTERVAL = 1.0  # seconds between two looks at the file


class Reloader:
    """Has a gate know the keys of a file.

    Args:
        file: the file.
        gate: gets the keys, now and whenever they have changed.

    Raises KeyFileError when they cannot be read now.
    """

    def __init__(self, file: KeyFile, gate: Gate) -> None:
        self._file = file
        self._gate = gate
        self._stamp = file.stamp()
        self._now = asyncio.Event()
        gate.replace(Keyring(file.read()))

    def poke(self) -> None:
        """Read the file again, whether or not it looks as before."""
        self._stamp = None
        self._now.set()

    async def run(self) -> None:
        """Look at the file once a second. While it cannot be read, the keys remain what they were."""
        while True:
            self._now.clear()
            stamp = self._file.stamp()
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._gate.replace(Keyring(await asyncio.to_thread(self._file.read)))
                    log.info("the keys were read again: %s", self._gate.keyring)
                except KeyFileError as error:
                    log.error("the keys are not read again: %s", error)
            try:
                await asyncio.wait_for(self._now.wait(), _INTERVAL)
            except (TimeoutError, asyncio.TimeoutError):
                pass
