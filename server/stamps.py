"""What shows that files were replaced."""

import os
from collections.abc import Iterable
from pathlib import Path

Stamp = tuple[tuple[int, int, int, int] | None, ...]


def stamp_of(paths: Iterable[Path]) -> Stamp:
    """Another one when one of the files is another one, may be read by others, or is gone."""
    return tuple(map(_stamp, paths))


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size
