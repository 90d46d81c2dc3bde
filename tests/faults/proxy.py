"""A TCP proxy in front of a broker or a database that cuts, stalls, trickles and hangs up."""

import asyncio
import contextlib

_PAUSE = 0.001  # seconds between two pieces, so that they are read apart


class Proxy:
    """Listens on a free port of 127.0.0.1 while its `async with` block runs.

    Args:
        target: the port of what it stands in front of.

    Attributes:
        port: where it listens.
        cut: the offset at which each chunk from there is cut in two; None for no cut.
        pace: seconds between two bytes from there; None for no pause.
        last_words: what ends all connections once it comes from the client, as its bytes; None for nothing. The target
            still gets it, unless `lost_words` is True; its answer is lost.
        silent_at: what has stall(0) take effect once it comes from the client; None for nothing.
        longest: bytes of the longest chunk from there so far.
        stalled: True once stall() has taken effect.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._until_stall: int | None = None
        self._refuses = False
        self.port = 0
        self.cut: int | None = None
        self.pace: float | None = None
        self.last_words: bytes | None = None
        self.lost_words = False
        self.silent_at: bytes | None = None
        self.longest = 0
        self.stalled = False

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.hang_up()
        if self._pumps:
            await asyncio.wait(self._pumps)

    def hang_up(self, refuse: bool = False) -> None:
        """Close all connections; with `refuse`, those to come too, until accept()."""
        self._refuses = refuse
        for writer in self._writers:
            writer.close()

    def accept(self) -> None:
        """Take connections again, and pass on what comes."""
        self._refuses, self._until_stall, self.stalled = False, None, False

    def stall(self, offset: int) -> None:
        """Pass on so many bytes of the next chunk from there, and nothing from then on."""
        self._until_stall = offset

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.close()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # what it stands in front of is away
            writer.close()
            return
        self._writers |= {writer, back}
        pumps = [asyncio.create_task(self._up(reader, back)), asyncio.create_task(self._down(there, writer))]
        self._pumps |= set(pumps)
        await asyncio.wait(pumps)
        self._pumps -= set(pumps)
        self._writers -= {writer, back}

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if self.silent_at is not None and self.silent_at in data:
                    self.stall(0)
                last = self.last_words is not None and self.last_words in data
                if not (last and self.lost_words):
                    writer.write(data)
                if last:
                    self.last_words = None
                    self.hang_up()
        writer.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                self.longest = max(self.longest, len(data))
                if self._until_stall is not None:
                    data, self._until_stall, self.stalled = data[: self._until_stall], 0, True
                while self.pace is not None and data:
                    writer.write(data[:1])
                    data = data[1:]
                    await asyncio.sleep(self.pace)
                at = self.cut or len(data)
                for piece in (data[:at], data[at:]):
                    writer.write(piece)
                    if self.cut is not None:
                        await asyncio.sleep(_PAUSE)
        writer.close()
