"""A server of jobs, over any store, and requests to it."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from sqlalchemy import create_engine
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from nowait.database_url import DatabaseUrl
from nowait.jobs import protocol
from nowait.jobs.table import INIT_COMMAND
from nowait.testing import FakeBridge
from server.app import WebApplication, make_app
from server.http.limits import SERVER_OPTIONS
from server.jobs.model import Publisher, Store
from server.schedules.model import ScheduleStore
from server.settings import Settings
from server.webhooks.signing import new_secret

JOBS = [
    {
        "name": "slow_count",
        "description": "Counts, slowly.",
        "parameters": {
            "type": "object",
            "properties": {
                "steps": {"type": "integer", "minimum": 1, "maximum": 1000},
                "pause": {"type": "number", "minimum": 0, "maximum": 10, "default": 0},
                "note": {"type": ["string", "array", "object"], "default": ""},
            },
        },
        "queue": "queries.jobs",
        "retry": {"max_retries": 2, "backoff": 1.0, "backoff_max": 600.0},
        "once": True,
    },
    {
        "name": "mail.send",
        "description": "A Celery task.",
        "parameters": {"type": "object", "properties": {}},
        "queue": "queries.jobs",
        "retry": {"max_retries": 0, "backoff": 1.0, "backoff_max": 600.0},
        "once": False,
    },
]
QUERIES = [
    {
        "name": name,
        "description": "Some rows.",
        "parameters": {"type": "object", "properties": {}},
        "queue": "queries.fast",
        "repeatable": True,
    }
    for name in ("name", "other")
]
COUNT = {"name": "slow_count", "parameters": {"steps": 3}}
WEBHOOKS: dict[str, Any] = {"webhook_secrets": (new_secret(),)}
"""Settings of a server that delivers webhooks."""


class Worker(Protocol):
    """Does what workers do to rows."""

    async def claim(self, job_id: str) -> None: ...

    async def report(self, job_id: str, progress: Any) -> None: ...

    async def succeed(self, job_id: str, result: str) -> None: ...

    async def fail(self, job_id: str, error: dict[str, Any]) -> None: ...

    async def retry(self, job_id: str, seconds: float) -> None: ...


class DatabaseWorker:
    """Does it in the database, by the steps of workers.

    Args:
        url: of the database.
    """

    def __init__(self, url: str) -> None:
        options = {**DatabaseUrl.parse(url).options(), "init_command": INIT_COMMAND}
        self._engine = create_engine("mysql+pymysql://", connect_args=options, isolation_level="AUTOCOMMIT")
        self._attempts: dict[str, int] = {}

    async def claim(self, job_id: str) -> None:
        self._attempts[job_id] = self._attempts.get(job_id, 0) + 1
        self._run(protocol.claim(job_id, self._attempts[job_id], "tests"))

    async def report(self, job_id: str, progress: Any) -> None:
        self._run(protocol.report(job_id, self._attempts[job_id], progress))

    async def succeed(self, job_id: str, result: str) -> None:
        self._run(protocol.succeed(job_id, self._attempts[job_id], result))

    async def fail(self, job_id: str, error: dict[str, Any]) -> None:
        self._run(protocol.fail(job_id, self._attempts[job_id], error))

    async def retry(self, job_id: str, seconds: float) -> None:
        self._run(protocol.retry(job_id, self._attempts[job_id], seconds, "task-failed"))

    def close(self) -> None:
        self._engine.dispose()

    def _run(self, step: protocol.Step) -> None:
        with self._engine.connect() as connection:
            assert connection.execute(*step).rowcount == 1


class Site:
    """One server."""

    def __init__(
        self, store: Store, publisher: Publisher, schedule_store: ScheduleStore | None = None, **settings: Any
    ) -> None:
        self.settings = Settings(**settings)
        tasks = {"task.list_jobs": lambda: JOBS, "task.list_queries": lambda: QUERIES}
        self.bridge = FakeBridge(
            tasks, queues=["queries.catalogue"], max_reply_bytes=self.settings.max_answer_bytes
        )
        self.app: WebApplication = make_app(
            self.bridge, self.settings, store, publisher, schedule_store
        )
        self.http = HTTPServer(self.app, **SERVER_OPTIONS)
        sock, self.port = bind_unused_port()
        self.http.add_socket(sock)
        self._client = AsyncHTTPClient(force_instance=True, max_clients=1000)

    def fetch(self, path: str, **kwargs: Any) -> "asyncio.Task[HTTPResponse]":
        """One request; it is under way at once."""
        url = f"http://127.0.0.1:{self.port}{path}"
        request = HTTPRequest(url, allow_nonstandard_methods=True, request_timeout=60, **kwargs)
        return asyncio.ensure_future(_response(self._client.fetch(request, raise_error=False)))

    def post(self, body: Any, **headers: str) -> "asyncio.Task[HTTPResponse]":
        """POST /jobs; of the names of headers, `_` is `-`."""
        text = body if isinstance(body, (bytes, str)) else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.fetch("/jobs", method="POST", body=text, headers={"Content-Type": "application/json", **named})

    async def posted(self, body: Any = COUNT, **headers: str) -> str:
        """The id of a job that was accepted."""
        response = await self.post(body, **headers)
        assert response.code == 202, response.body
        job_id: str = json.loads(response.body)["id"]
        return job_id

    async def events(self, job_id: str, **headers: str) -> "Events":
        """The stream of a job's events, once its headers are there."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=sock)
        lines = [f"GET /jobs/{job_id}/events HTTP/1.0", "Host: h"]  # in 1.0, its end is that of the connection
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = await reader.readuntil(b"\r\n\r\n")
        return Events(head.decode(), reader, writer)


class Events:
    """A stream that is read.

    Attributes:
        head: the status line and the headers.
    """

    def __init__(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.head = head
        self.reader = reader
        self._writer = writer

    @property
    def status(self) -> int:
        return int(self.head.split(" ")[1])

    async def next(self) -> dict[str, str] | None:
        """The fields of the next event or comment; None at the end."""
        try:
            block = await self.reader.readuntil(b"\n\n")
        except asyncio.IncompleteReadError as error:
            assert not error.partial
            return None
        return dict(line.split(": ", 1) if ": " in line else (line, "") for line in block.decode().split("\n")[:-2])

    async def rest(self) -> list[dict[str, str]]:
        """All others, up to the end."""
        found = []
        while (event := await self.next()) is not None:
            found.append(event)
        self.close()
        return found

    def close(self) -> None:
        """Leave."""
        self._writer.close()


@asynccontextmanager
async def serving(
    store: Store, publisher: Publisher, schedule_store: ScheduleStore | None = None, **settings: Any
) -> AsyncIterator[Site]:
    """A site, closed behind."""
    site = Site(store, publisher, schedule_store, **settings)
    try:
        yield site
    finally:
        site.http.stop()
        site.app.stop_waiting()
        await site.http.close_all_connections()
        await site.bridge.stop()


async def _response(fetched: Awaitable[HTTPResponse]) -> HTTPResponse:
    return await fetched


def problem(response: HTTPResponse, status: int, kind: str = "about:blank") -> dict[str, Any]:
    """The document, after a look at its form."""
    assert response.code == status, response.body
    assert response.headers["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = json.loads(response.body)
    assert document["type"].removeprefix("urn:problem-type:nowait:") == kind
    return document
