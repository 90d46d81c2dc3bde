"""The file that keys are kept in: JSON, without their texts."""

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.keys.key import Key
from server.stamps import Stamp, stamp_of

_VERSION = 1
_MODE = 0o600


class KeyFileError(Exception):
    """The file cannot be used; the text is one line with its name, and nothing of what is in it."""


class KeyFile:
    """One file. It is never changed, but replaced by another one: who reads it finds all of it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def stamp(self) -> Stamp:
        """What is another one when the file is."""
        return stamp_of([self._path])

    def read(self, empty: bool = True) -> list[Key]:
        """All keys; none of a file that is empty, where it may be. Raises KeyFileError."""
        try:
            text = self._path.read_text(encoding="utf-8")
            return [] if empty and not text.strip() else _keys(json.loads(text))
        except OSError as error:
            raise KeyFileError(f"{self._path}: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            # A decoder's text may repeat a part of the file.
            undecoded = (UnicodeError, json.JSONDecodeError, RecursionError)
            reason = "it is not JSON in UTF-8" if isinstance(error, undecoded) else error
            raise KeyFileError(f"{self._path}: {reason}") from None

    @contextmanager
    def editing(self) -> Iterator[list[Key]]:
        """Gives all keys, none where there is no file, and writes the list at the end of the block.

        Others who edit wait meanwhile. Raises KeyFileError.
        """
        path = self._path.resolve()
        try:
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise KeyFileError(f"{path.parent}: {error.strerror}") from None
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            keys = self.read() if path.exists() else []
            yield keys
            try:
                _replace(path, keys)
                os.fsync(folder)
            except OSError as error:
                raise KeyFileError(f"{path}: {error.strerror}") from None
        finally:
            os.close(folder)


def _keys(document: object) -> list[Key]:
    if not isinstance(document, dict) or document.get("version") != _VERSION:
        raise ValueError(f"version {_VERSION} is expected")
    listed = document.get("keys")
    if not isinstance(listed, list):
        raise ValueError("keys: a list is expected")
    keys = [Key.of_document(each) for each in listed]
    if len({key.id for key in keys}) < len(keys):
        raise ValueError("two keys have one id")
    return keys


def _replace(path: Path, keys: list[Key]) -> None:
    text = json.dumps({"version": _VERSION, "keys": [key.document() for key in keys]}, indent=2) + "\n"
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), _MODE)
            if path.exists():
                # Who may read it may go on doing so.
                before = path.stat()
                if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
                os.fchmod(file.fileno(), before.st_mode & 0o777)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
