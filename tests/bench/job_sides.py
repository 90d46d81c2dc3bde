"""Our durable jobs, and other ways to have a job done later, each as a server and a worker: the job only returns."""

import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pymysql
from pymysql.constants import ER
from pymysql.cursors import Cursor

from deploy.local.process import Process, free_port
from nowait.database_url import DatabaseUrl
from nowait.jobs import migrations
from tests.bench.peer import FOLDER, await_ready, environment, start_redis
from tests.bench.site import THREADS, Site
from tests.http import fetch

_QUEUE = "queries.jobs"
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Peer:
    """Another way.

    Attributes:
        title: in words.
        accepted: what is known when it has answered 202.
        killed: what becomes of a job whose worker is killed.
        start: starts its server and its worker.
    """

    title: str
    accepted: str
    killed: str
    start: "Callable[[Site], Side]"


@dataclass(frozen=True)
class Side:
    """A server that answers POST /jobs with 202, and the workers behind it.

    Attributes:
        url: what is posted to.
        body: what is posted.
        server: the process that answers.
        workers: those behind it, Redis with them, but neither broker nor database.
        done: how many jobs have a result.
    """

    url: str
    body: str
    server: Process
    workers: Sequence[Process]
    done: Callable[[], int]


def start_ours(site: Site, workers: int = 1, threads: int = THREADS) -> Side:
    """One server, and workers with threads. Raises LocalError, and MigrationError."""
    if site.services.database is not None:
        migrations.migrate(site.services.database_url)
    arguments = ["-P", "threads", "-c", str(threads), "-Q", _QUEUE, "--include", "tests.bench.jobs_worker"]
    running = [site.worker("tasks", _QUEUE, *arguments) for _ in range(workers)]
    server, url = site.server("server-jobs", "/readyz", "server", max_jobs=10_000_000, log_level="warning")
    body = json.dumps({"name": "nothing"})
    server.wait_until(lambda: _accepts(f"{url}/jobs", body), 30.0)
    done = _counted(site, "SELECT COUNT(*) FROM jobs WHERE state = 'succeeded'")
    return Side(f"{url}/jobs", body, server, running, done)


def _celery(site: Site) -> Side:
    # With its pool of threads, it would connect to the database anew for each result.
    command = ["bin/celery", "-A", "worker", "worker", "-l", "WARNING", "-P", "prefork", "-c", str(THREADS)]
    command += ["--without-gossip", "--without-mingle"]
    given = {"QUEUE": "jobs.celery"}
    return _tornado(site, "celery", command, given, _counted(site, "SELECT COUNT(*) FROM celery_taskmeta"))


def _dramatiq(site: Site) -> Side:
    redis, redis_url = start_redis(site)
    command = ["bin/dramatiq", "worker", "--processes", "1", "--threads", str(THREADS)]
    given = {"QUEUE": "jobs.dramatiq", "REDIS_URL": redis_url}
    return _tornado(site, "dramatiq", command, given, lambda: _keys(redis_url), redis)


def _huey(site: Site) -> Side:
    command = ["bin/huey_consumer", "worker.huey", "-k", "thread", "-w", str(THREADS), "--quiet"]
    return _tornado(site, "huey", command, {}, _counted(site, "SELECT COUNT(*) FROM kv"))


def _tornado(
    site: Site, name: str, command: Sequence[str], given: Mapping[str, str], done: Callable[[], int], *others: Process
) -> Side:
    programs, folder = environment(f"jobs_{name}"), FOLDER / f"jobs_{name}"
    port = free_port()
    url = f"http://127.0.0.1:{port}/jobs"
    server = site.run(f"jobs-{name}", [str(programs / "python"), "server.py", str(port)], given, folder)
    await_ready(server, lambda: _accepts(url, "{}"))
    # Behind it: two that make their tables at the same time stand in each other's way.
    worker = site.run(f"jobs-{name}-worker", [str(programs.parent / command[0]), *command[1:]], given, folder)
    await_ready(worker, lambda: done() > 0)
    return Side(url, "{}", server, [worker, *others], done)


def _accepts(url: str, body: str) -> bool:
    return fetch(url, "POST", _JSON, body.encode()).status == 202


@contextmanager
def cursor(site: Site) -> Iterator[Cursor]:
    """Of a connection whose statements are committed."""
    options: dict[str, Any] = DatabaseUrl.parse(site.services.database_url).options()
    with closing(pymysql.connect(**options, autocommit=True)) as connection, connection.cursor() as opened:
        yield opened


def query(site: Site, statement: str) -> Sequence[Sequence[Any]]:
    """The rows of a statement, which is committed."""
    with cursor(site) as opened:
        opened.execute(statement)
        return opened.fetchall()


def _counted(site: Site, statement: str) -> Callable[[], int]:
    def count() -> int:
        try:
            return int(query(site, statement)[0][0])
        except pymysql.err.ProgrammingError as error:
            if error.args[0] == ER.NO_SUCH_TABLE:
                return 0
            raise

    return count


def _keys(redis_url: str) -> int:
    """Redis's keys: a result each."""
    with socket.create_connection(("127.0.0.1", urlsplit(redis_url).port or 0), timeout=5) as connection:
        connection.sendall(b"DBSIZE\r\n")
        return int(connection.recv(64).lstrip(b":"))


PEERS = {
    "celery": Peer(
        "Celery, results in the same database",
        "written to a socket",
        "lost",
        _celery,
    ),
    "dramatiq": Peer(
        "dramatiq, RabbitMQ, results in Redis",
        "written to a socket",
        "done again, effects twice",
        _dramatiq,
    ),
    "huey": Peer(
        "Huey, polled tables of the same database",
        "committed",
        "lost",
        _huey,
    ),
}
