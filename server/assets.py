"""What is sent as it is, read, packed and hashed once: the files of pages."""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Asset:
    """One file.

    Attributes:
        kind: its media type.
        body: its bytes.
        packed: the same, by gzip.
        etag, packed_etag: of body and packed.
    """

    kind: str
    body: bytes
    packed: bytes
    etag: str
    packed_etag: str


def read(folder: Path) -> Mapping[str, Asset]:
    """All files of a folder that a page is made of, by name."""
    return {
        path.name: asset(f"{_KINDS[path.suffix]}; charset=utf-8", path.read_bytes())
        for path in folder.iterdir()
        if path.suffix in _KINDS
    }


def asset(kind: str, body: bytes) -> Asset:
    """One of these bytes.

    Args:
        kind: its media type.
        body: the bytes.
    """
    # Without a time in it, all servers send the same bytes.
    packed = gzip.compress(body, mtime=0)
    digest = hashlib.sha256(body).hexdigest()[:16]
    return Asset(kind, body, packed, f'"{digest}"', f'"{digest}-gzip"')
