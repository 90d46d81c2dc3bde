"""Which of several processes reads what is the same for all of them."""

import fcntl
from pathlib import Path


class Turn:
    """A lock on a file: whoever has it keeps it to its end, and another one gets it then.

    Args:
        folder: where the file is, one for all of the processes; None for a process alone, whose turn it always is.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file = None if folder is None else (folder / "turn").open("w")

    def take(self) -> bool:
        """Take it, unless another process has it. Returns True where it is this one's."""
        if self._file is None:
            return True
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Leave it to others."""
        if self._file is not None:
            self._file.close()
