"""A stack whose queries give as many rows as one likes, and clients that read them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymysql

from tests.sequence import rows, sequence

_ROWS = f"{sequence(8)} AS s"
_NUMBER = "CAST(@row \\:= @row + 1 AS UNSIGNED) AS number"
_NUMBERED = f"(SELECT @row \\:= 0) AS start, {rows(8)}"
# Some kilobytes of `text` a row; a row that takes `pause` seconds; an error behind some rows; no row for a long time.
QUERIES = {
    "numbers": f"SELECT {_NUMBER}, REPEAT('é', :width) AS text, NULL AS nothing FROM {_NUMBERED} LIMIT :total",
    "slow": f"SELECT seq AS number, SLEEP(:pause) AS slept FROM {_ROWS} LIMIT :total",
    "breaks": (
        f"SELECT {_NUMBER}, (SELECT t.seq FROM {sequence(1)} AS t WHERE t.seq = 1 OR @row > :fine) AS one"
        f" FROM {_NUMBERED} LIMIT 1000000"
    ),
    "once": f"SELECT seq AS number, SLEEP(:pause) AS slept FROM {_ROWS} LIMIT :total",
}
_SETTINGS = """\
[numbers.parameters]
width = {type = "integer", default = 0}
total = {type = "integer"}
[slow.parameters]
pause = {type = "number"}
total = {type = "integer", default = 1}
[breaks.parameters]
fine = {type = "integer"}
[once]
repeatable = false
stream_row_limit = 100000
[once.parameters]
pause = {type = "number", default = 0}
total = {type = "integer", default = 1}
"""


def write_queries(folder: Path) -> Path:
    """The folder, with the queries in it."""
    (folder / "streamed.sql").write_text("\n".join(f"-- name: {name}\n{sql};" for name, sql in QUERIES.items()))
    (folder / "streamed.toml").write_text(_SETTINGS)
    return folder


class Reader:
    """One client in the middle of an answer.

    Attributes:
        status: of the answer.
        headers: its headers, names in lower case.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}

    async def begin(self) -> None:
        """Read the head of the answer."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.status = int(head[0].split()[1])
        pairs = [line.partition(":") for line in head[1:] if line]
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}

    async def chunk(self) -> bytes:
        """The next chunk; b"" for the last. Raises IncompleteReadError or OSError when the answer breaks off."""
        size = int(await self._reader.readuntil(b"\r\n"), 16)
        data = await self._reader.readexactly(size + 2)
        return data[:-2]

    async def rest(self) -> bytes:
        """All other chunks. Raises as chunk()."""
        chunks = []
        while chunk := await self.chunk():
            chunks.append(chunk)
        return b"".join(chunks)

    async def paced(self, rate: float, seconds: float) -> int:
        """Read at a rate, in bytes a second, for some seconds; how many bytes that were."""
        loop, read = asyncio.get_running_loop(), 0
        began = loop.time()
        while (now := loop.time()) < began + seconds:
            if read > rate * (now - began):
                await asyncio.sleep(0.02)
            else:
                read += len(await self._reader.read(32 * 1024))
        return read

    def leave(self) -> None:
        """Go away at once."""
        self._writer.transport.abort()


@asynccontextmanager
async def reading(url: str, accept: str = "application/x-ndjson", limit: int = 2**16) -> AsyncIterator[Reader]:
    """A client of a stream; it leaves at the end."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=limit)
    target = url.partition(parts.netloc)[2]
    writer.write(f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: {accept}\r\n\r\n".encode())
    client = Reader(reader, writer)
    try:
        yield client
    finally:
        client.leave()


def statements(connection: "pymysql.Connection[Any]") -> int:
    """How many of the account's statements run at this moment, the one that looks left out."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE command = 'Query' AND id <> CONNECTION_ID()"
        )
        (found,) = cursor.fetchone() or (0,)
        return int(found)
