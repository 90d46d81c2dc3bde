import asyncio
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from tests.http import Answer, fetch


def wait_until(happened: Callable[[], bool], timeout: float = 60.0) -> None:
    """Return once `happened()`; fail when it does not."""
    deadline = time.monotonic() + timeout
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


class Volley:
    """Requests that are under way at the same time, each on its own connection.

    Attributes:
        done: the answers so far, in the order in which they came.
        sent: how many requests have left.
    """

    def __init__(self) -> None:
        self.done: list[tuple[str, Answer]] = []
        self.sent = 0
        self._tasks: list[asyncio.Task[None]] = []

    def send(self, url: str, times: int = 1) -> None:
        """Send GETs, without waiting for their answers."""
        self._tasks += [asyncio.get_running_loop().create_task(self._get(url)) for _ in range(times)]

    async def all(self) -> list[tuple[str, Answer]]:
        """Wait for all answers."""
        await asyncio.gather(*self._tasks)
        return self.done

    async def _get(self, url: str) -> None:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        target = url.partition(parts.netloc)[2]
        writer.write(f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        self.sent += 1
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self.done.append((url, Answer(int(lines[0].split()[1]), headers, body)))


async def soon(happened: Callable[[], bool], timeout: float = 60.0) -> None:
    """As wait_until, on a loop; `happened` runs in a thread, since it may block."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while not await loop.run_in_executor(None, happened):
        assert loop.time() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


__all__ = ["Volley", "fetch", "soon", "wait_until"]
