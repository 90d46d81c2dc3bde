"""A key as it is kept. No I/O."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nowait.formats import parse_date_time
from server.keys.limits import Limits
from server.keys.scopes import Scopes

_ID = re.compile("[0-9A-Za-z]{8}")
_DIGEST = re.compile("[0-9a-f]{64}")
_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MOMENTS = ("created", "not_before", "expires", "revoked")
_MEMBERS = {"id", "digest", "name", "owner", "scopes", "limits", *_MOMENTS}
VALID, EARLY = "valid", "not valid yet"


@dataclass(frozen=True)
class Key:
    """One key, of which several may have one name: while a client changes from one to the next.

    Attributes:
        id: of its text.
        digest: SHA-256 of its text.
        name: whose it is; limits are for all keys of a name, those of the newest.
        owner: of the jobs and schedules that it makes, and sees.
        scopes, limits: what it may be used for, and how much.
        created, not_before, expires, revoked: moments, with a zone; None for none.
    """

    id: str
    digest: bytes = field(repr=False)
    name: str
    owner: str
    scopes: Scopes
    limits: Limits
    created: datetime
    not_before: datetime | None = None
    expires: datetime | None = None
    revoked: datetime | None = None

    @classmethod
    def of_document(cls, document: Any) -> "Key":
        """Of document(). Raises ValueError."""
        if not isinstance(document, dict) or not document.keys() <= _MEMBERS:
            raise ValueError("a key is an object with " + ", ".join(sorted(_MEMBERS)))
        try:
            scopes = document["scopes"]
            if not isinstance(scopes, list):
                raise ValueError("scopes: a list is expected")
            name = check_name(document["name"])
            return cls(
                id=_matching(_ID, document["id"], "id"),
                digest=bytes.fromhex(_matching(_DIGEST, document["digest"], "digest")),
                name=name,
                owner=check_owner(document.get("owner", name)),
                scopes=Scopes.parse(scopes),
                limits=Limits.of_document(document.get("limits", {})),
                created=parse_date_time(document["created"]),
                **{each: _moment(document.get(each)) for each in _MOMENTS[1:]},
            )
        except (KeyError, TypeError) as error:
            raise ValueError("a key has id, digest, name, scopes and created") from error

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        moments = {each: moment.isoformat().replace("+00:00", "Z") for each, moment in self._moments().items()}
        return {
            "id": self.id,
            "digest": self.digest.hex(),
            "name": self.name,
            "owner": self.owner,
            "scopes": self.scopes.texts(),
            "limits": self.limits.document(),
            **moments,
        }

    def state(self, now: datetime) -> str:
        """VALID, EARLY before it is, or what it is behind that."""
        if self.revoked is not None:
            return "revoked"
        if self.not_before is not None and now < self.not_before:
            return EARLY
        return "expired" if self.expires is not None and now >= self.expires else VALID

    def _moments(self) -> dict[str, datetime]:
        found = {each: getattr(self, each) for each in _MOMENTS}
        return {each: moment for each, moment in found.items() if moment is not None}


def check_name(name: Any) -> str:
    """A name that a key may have. Raises ValueError."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError("name: 1 to 64 letters and digits, behind the first one . _ - as well, are expected")
    return name


def check_owner(owner: Any) -> str:
    """A name, or "" for the owner of what was made without keys. Raises ValueError."""
    return owner if owner == "" else check_name(owner)


def _matching(pattern: re.Pattern[str], value: Any, member: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{member}: {pattern.pattern} is expected")
    return value


def _moment(value: Any) -> datetime | None:
    return None if value is None else parse_date_time(value)
