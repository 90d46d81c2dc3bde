"""The keys of a file, as a gate knows them."""

import asyncio
import logging

from server.keys.file import KeyFile, KeyFileError
from server.keys.gate import Gate
from server.keys.keyring import Keyring

log = logging.getLogger(__name__)


class KeyLoader:
    """Has a gate know the keys of a file.

    Args:
        file: the file.
        gate: gets the keys, now and with each reload().

    Raises KeyFileError when they cannot be read now.
    """

    def __init__(self, file: KeyFile, gate: Gate) -> None:
        self._file = file
        self._gate = gate
        self._stamp = file.stamp()
        gate.replace(Keyring(file.read()))

    def changed(self) -> bool:
        """The file is another one than the one that was read."""
        return self._file.stamp() != self._stamp

    async def reload(self) -> bool:
        """Read the file again. While it cannot be read, or is empty, the keys remain what they were: returns False."""
        self._stamp = self._file.stamp()
        try:
            # To end all keys, they are revoked; a file that was cut off, or never copied, is to lock nobody out.
            keys = await asyncio.to_thread(self._file.read, empty=not self._gate.keyring)
            self._gate.replace(Keyring(keys))
        except KeyFileError as error:
            log.error("the keys are not read again: %s", error)
            return False
        log.info("the keys were read again: %s", self._gate.keyring)
        return True
