"""All keys, and the one that a client has. No I/O."""

from collections.abc import Iterable
from datetime import datetime
from hmac import compare_digest
from math import inf

from server.keys.key import VALID, Key
from server.keys.limits import Limits
from server.keys.scopes import Scopes
from server.keys.token import Token


class BadKey(Exception):
    """Nothing that a client may use.

    Attributes:
        id: of the key; None where it is no key's text.
        reason: for the log.
    """

    def __init__(self, key_id: str | None, reason: str) -> None:
        super().__init__(f"key {key_id or '-'}: {reason}")
        self.id = key_id
        self.reason = reason


# Of no key: what has an id that nobody has is compared as any other.
_NONE = b"\0" * 32


class Keyring:
    """All keys."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.id: key for key in keys}
        # Of each name, the newest last.
        self._named: dict[str, list[Key]] = {}
        for key in sorted(self._keys.values(), key=lambda key: key.created):
            self._named.setdefault(key.name, []).append(key)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"<Keyring {len(self)} keys>"

    @property
    def names(self) -> frozenset[str]:
        """The names of all keys."""
        return frozenset(self._named)

    def limits(self, key: Key, now: datetime) -> Limits:
        """Those of the client that has a key: the newest one's of its name that is valid."""
        return next((each.limits for each in reversed(self._named[key.name]) if each.state(now) == VALID), key.limits)

    def lasts(self, key_id: str, owner: str, scopes: Scopes, now: datetime) -> float:
        """Seconds that a key remains valid; 0 when it is not, or is another one by now, math.inf without an end."""
        key = self._keys.get(key_id)
        if key is None or key.state(now) != VALID or (key.owner, key.scopes) != (owner, scopes):
            return 0.0
        return inf if key.expires is None else (key.expires - now).total_seconds()

    def find(self, text: str, now: datetime) -> Key:
        """The key of a text. Raises BadKey, after the same work for each text that may be one."""
        token = Token.parse(text)
        if token is None:
            raise BadKey(None, "no key")
        key = self._keys.get(token.id)
        same = compare_digest(token.digest, _NONE if key is None else key.digest)
        if key is None or not same:
            raise BadKey(token.id, "unknown" if key is None else "wrong")
        if (state := key.state(now)) != VALID:
            raise BadKey(token.id, state)
        return key
