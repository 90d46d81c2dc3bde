"""The text of a key, `nwt_` + id + `_` + secret + checksum. No I/O.

The form is that of GitHub's tokens: a scanner of sources knows it, a double click selects all of it, and what is
mistyped is none (https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/).
"""

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID, _SECRET, _CHECKSUM = 8, 32, 6  # characters; a secret has 190 bits
_FORM = re.compile(rf"nwt_([0-9A-Za-z]{{{_ID}}})_([0-9A-Za-z]{{{_SECRET}}})([0-9A-Za-z]{{{_CHECKSUM}}})")
# Also one that is cut off, or has something behind it, and as it is in a URL, twice quoted as well, or in a string.
_UNDERSCORE = r"(?:_|%(?:25)*5[Ff]|\\+(?:x|u00)5[Ff])"
_ANYWHERE = re.compile(rf"nwt{_UNDERSCORE}([0-9A-Za-z]{{1,8}})(?:{_UNDERSCORE}[0-9A-Za-z]*)?")


@dataclass(frozen=True)
class Token:
    """A key's text, which nobody keeps but its client.

    Attributes:
        id: what it is found by, and the only part of it that may be shown.
        text: all of it.
    """

    id: str
    text: str = field(repr=False)

    @classmethod
    def new(cls) -> "Token":
        """A fresh one."""
        return cls.of(_random(_ID), _random(_SECRET))

    @classmethod
    def of(cls, token_id: str, secret: str) -> "Token":
        """Of its parts."""
        return cls(token_id, f"nwt_{token_id}_{secret}{_checksum(token_id, secret)}")

    @classmethod
    def parse(cls, text: str) -> "Token | None":
        """Of its text; None where that is no key's."""
        match = _FORM.fullmatch(text)
        if match is None or match[3] != _checksum(match[1], match[2]):
            return None
        return cls(match[1], text)

    @property
    def digest(self) -> bytes:
        """SHA-256: what is random needs no slow hash."""
        return hashlib.sha256(self.text.encode()).digest()


def without_secrets(text: str) -> str:
    """A text in which nothing is left of keys but their ids; ASCII remains ASCII."""
    return _ANYWHERE.sub(r"nwt_\1_...", text) if "nwt" in text else text


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(token_id: str, secret: str) -> str:
    """CRC-32 of what stands before it, to the base 62."""
    number, digits = zlib.crc32(f"nwt_{token_id}_{secret}".encode()), ""
    for _ in range(_CHECKSUM):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
