"""Keys for tests: a file of them, and their texts."""

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from server.keys.file import KeyFile
from server.keys.key import Key
from server.keys.limits import Limits
from server.keys.scopes import Scopes
from server.keys.token import Token

HOUR = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(timezone.utc)


def new_key(name: str = "one", scopes: str = "admin", owner: str | None = None, **values: Any) -> tuple[Token, Key]:
    """A key, with its text; scopes with blanks between."""
    token = Token.new()
    owner = name if owner is None else owner
    limits = values.pop("limits", Limits())
    return token, Key(token.id, token.digest, name, owner, Scopes.parse(scopes.split()), limits, now(), **values)


def resigned(text: str, other: str) -> str:
    """The id of one key with the secret of another."""
    return Token.of(text[4:12], other[13:45]).text


class Keys:
    """A file of keys.

    Attributes:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def add(self, name: str = "one", scopes: str = "admin", **values: Any) -> dict[str, str]:
        """Add a key; returns the header of requests with it."""
        token, key = new_key(name, scopes, **values)
        with KeyFile(self.path).editing() as keys:
            keys.append(key)
        return bearer(token.text)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}
