"""Each alert fires for its fault, and for no other: Prometheus looks at a stack that is broken in all the ways.

The alerts are those of deploy/metrics/, in seconds where they have minutes.
"""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trustme
from amqp import Message
from kombu import Connection

from deploy.local import sample
from deploy.local.broker import Broker
from deploy.local.database import Database
from deploy.local.process import Process, free_port, listens
from nowait.jobs.migrations import migrate
from tests import programs
from tests.conftest import ROOT, Start, celery_worker, connect, printed, ready
from tests.faults.figures import Figures
from tests.http import fetch
from tests.system.conftest import wait_until

pytestmark = pytest.mark.timeout(1800)

CONFIG = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: nowait
    static_configs: [{{targets: {targets}}}]
"""
# In place of what the file has. Schedulers are late for as long as the database is away, and seen to be for a while.
FASTER = {
    "for: 1m": "for: 4s",
    "for: 2m": "for: 8s",
    "for: 5m": "for: 4s",
    "for: 30s": "for: 4s",
    "[1m]": "[5s]",
    "[5m]": "[15s]",
    "[15m]": "[15s]",
    "schedules_late_seconds) > 30": "schedules_late_seconds) > 5",
    "jobs_late_seconds) > 60": "jobs_late_seconds) > 5",
}
ALERTS = ROOT / "deploy/metrics/alerts.yml"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BOUND = 3
MANY = 8
IN_FLIGHT = 32
JSON = {"Content-Type": "application/json"}


class Prometheus:
    """A server of it, with the alerts."""

    def __init__(self, folder: Path, targets: list[int]) -> None:
        programs.require("prometheus")
        rules = ALERTS.read_text()
        for slow, fast in FASTER.items():
            assert slow in rules
            rules = rules.replace(slow, fast)
        (folder / "alerts.yml").write_text(rules)
        addresses = json.dumps([f"127.0.0.1:{port}" for port in targets])
        (folder / "prometheus.yml").write_text(CONFIG.format(targets=addresses))
        self.url = f"http://127.0.0.1:{free_port()}"
        command = [
            programs.path("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={self.url.removeprefix('http://')}",
        ]  # fmt: skip
        self.process = Process("prometheus", command, output=folder / "prometheus.log")
        wait_until(lambda: fetch(f"{self.url}/-/ready").status == 200)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression at this moment."""
        answer = fetch(f"{self.url}/api/v1/query?query={quote(expression)}").json()
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def firing(self, seconds: float = 0.0) -> set[str]:
        """The alerts that fire, or have fired within these seconds."""
        fires = 'ALERTS{alertstate="firing"}'
        found = self.query(f"max_over_time({fires}[{round(seconds)}s])" if seconds else fires)
        return {series["metric"]["alertname"] for series in found}


class Stack:
    """What is broken."""

    def __init__(self, broker: Broker, database: Database, start: Start, folder: Path) -> None:
        self.broker, self.database, self._start = broker, database, start
        self.port, self.nowhere = free_port(), free_port()
        self.folder = folder
        # The last one is for servers that a fault starts.
        self.metrics = [free_port() for _ in range(4)]
        self._settings = {"broker_url": broker.url, "database_url": database.url}
        programs.require("mariadb")
        self.administer("CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'reader'")
        self.administer("GRANT SELECT, UPDATE ON nowait.* TO reader@'127.0.0.1'")
        self.server = self.start_server()
        self.worker, self.scheduler = self.start_worker(), self.start_scheduler()
        self.url = ready(self.server, self.port)

    def _address(self, number: int) -> str:
        return f"127.0.0.1:{self.metrics[number]}"

    def administer(self, statements: str) -> None:
        subprocess.run([programs.path("mariadb"), *self.database.root, "-e", statements], check=True)

    def start_server(self) -> Process:
        return self._start(
            "server", "server", port=self.port, demo=1, queues=f"parcels:{BOUND}", metrics=self._address(0),
            max_in_flight=IN_FLIGHT, webhook_secrets=SECRET,
            webhook_allow=f"http://127.0.0.1:{self.nowhere}", **self._settings,
        )  # fmt: skip

    def start_other_server(self, cert: Path, key: Path) -> Process:
        settings = {"tls_cert": cert, "tls_key": key, "metrics": self._address(3), **self._settings}
        server = self._start("other", "server", port=free_port(), **settings)
        wait_until(lambda: "listening on" in printed(server))
        return server

    def start_worker(self) -> Process:
        account = re.sub("//nowait:[^@]*@", "//reader:reader@", self.database.url)
        settings = {**self._settings, "database_url": account}
        return celery_worker(self._start, "tasks", "-P", "threads", "-c", "4", metrics=self._address(1), **settings)

    def start_scheduler(self) -> Process:
        return self._start("beat", *"celery -A tasks beat".split(), metrics=self._address(2), **self._settings)

    def job(self, **others: Any) -> bytes:
        return json.dumps({"name": "slow_count", "parameters": {"steps": 1, "pause": 0}, **others}).encode()

    def stop(self) -> None:
        for process in (self.server, self.worker, self.scheduler):
            process.kill()


@contextmanager
def no_server(stack: Stack) -> Iterator[None]:
    stack.server.kill()
    yield
    stack.server = stack.start_server()
    ready(stack.server, stack.port)


@contextmanager
def no_broker(stack: Stack) -> Iterator[None]:
    stack.broker.process.kill()
    yield
    stack.broker.start()
    wait_until(lambda: listens(stack.broker.port), 90.0)


@contextmanager
def an_alarm(stack: Stack) -> Iterator[None]:
    stack.broker.control("set_vm_memory_high_watermark", "absolute", "1MB")
    yield
    stack.broker.control("set_vm_memory_high_watermark", "0.4")


@contextmanager
def no_worker(stack: Stack) -> Iterator[None]:
    stack.worker.kill()
    yield
    stack.worker = stack.start_worker()


@contextmanager
def a_revoked_account(stack: Stack) -> Iterator[None]:
    # Those that are open keep their rights.
    stack.administer("REVOKE SELECT ON nowait.* FROM reader@'127.0.0.1'; KILL USER reader")
    for _ in range(2 * MANY):
        assert fetch(f"{stack.url}/mysql_query/1").status == 500
        # A series that has just come counts from its second value on.
        time.sleep(0.25)
    yield
    stack.administer("GRANT SELECT ON nowait.* TO reader@'127.0.0.1'; KILL USER reader")


@contextmanager
def more_calls_than_may_wait(stack: Stack) -> Iterator[None]:
    with ThreadPoolExecutor(2 * IN_FLIGHT) as clients:
        for _ in range(2):
            urls = [f"{stack.url}/mysql_query/{number}?delay=1" for number in range(2 * IN_FLIGHT)]
            assert 503 in {answer.status for answer in clients.map(fetch, urls)}
    yield


@contextmanager
def a_policy_that_lets_nothing_in(stack: Stack) -> Iterator[None]:
    definition = {"max-length": 0, "overflow": "reject-publish"}
    stack.broker.control("set_policy", "closed", "^queries$", json.dumps(definition), "--apply-to", "queues")
    wait_until(lambda: fetch(f"{stack.url}/mysql_query/1").status == 503)
    for _ in range(MANY):
        assert fetch(f"{stack.url}/mysql_query/1").status == 503
        time.sleep(0.25)
    stack.broker.control("clear_policy", "closed")
    wait_until(lambda: fetch(f"{stack.url}/mysql_query/1").status == 200)
    yield


@contextmanager
def no_task(stack: Stack) -> Iterator[None]:
    with Connection(stack.broker.url) as connection:
        connection.default_channel.basic_publish(Message(b"none"), routing_key="queries")
    yield


@contextmanager
def a_certificate(stack: Stack, days: int) -> Iterator[Path]:
    """The file of that of a further server."""
    cert, key = stack.folder / "cert.pem", stack.folder / "key.pem"
    issued = trustme.CA().issue_cert("127.0.0.1", not_after=datetime.now(timezone.utc) + timedelta(days))
    issued.private_key_pem.write_to_path(str(key))
    issued.cert_chain_pems[0].write_to_path(str(cert))
    server = stack.start_other_server(cert, key)
    yield cert
    server.kill()


@contextmanager
def a_certificate_that_ends(stack: Stack) -> Iterator[None]:
    with a_certificate(stack, days=13):
        yield


@contextmanager
def a_certificate_that_cannot_be_read(stack: Stack) -> Iterator[None]:
    with a_certificate(stack, days=365) as cert:
        cert.write_text("none")
        yield


@contextmanager
def a_full_queue(stack: Stack) -> Iterator[None]:
    for _ in range(BOUND + MANY):
        fetch(f"{stack.url}/queues/parcels/messages", "POST", JSON, b"{}")
    yield


@contextmanager
def a_blocked_loop(stack: Stack) -> Iterator[None]:
    for _ in range(MANY):
        assert fetch(f"{stack.url}/blocking/mysql_query/1?delay=0.8").status == 200
        # More often than not, it turns.
        time.sleep(1.5)
    yield


@contextmanager
def a_stuck_loop(stack: Stack) -> Iterator[None]:
    with ThreadPoolExecutor(1) as other:
        answer = other.submit(fetch, f"{stack.url}/blocking/mysql_query/1?delay=15")
        yield
        assert answer.result().status == 200


@contextmanager
def no_database(stack: Stack) -> Iterator[None]:
    stack.database.process.signal(signal.SIGSTOP)
    yield
    stack.database.process.signal(signal.SIGCONT)


@contextmanager
def no_scheduler(stack: Stack) -> Iterator[None]:
    body = json.dumps({"every": 1, "job": json.loads(stack.job())}).encode()
    assert fetch(f"{stack.url}/schedules/often", "PUT", JSON, body).status == 201
    stack.scheduler.kill()
    yield
    stack.scheduler = stack.start_scheduler()
    with connect(stack.database.url) as connection:
        wait_until(lambda: late(connection) < 5)
    assert fetch(f"{stack.url}/schedules/often", "DELETE").status == 204


def late(connection: Any) -> float:
    with connection.cursor() as cursor:
        cursor.execute("SELECT TIMESTAMPDIFF(SECOND, MIN(due), UTC_TIMESTAMP(6)) FROM schedules")
        return float(cursor.fetchone()[0])


@contextmanager
def jobs_that_nobody_looks_after(stack: Stack) -> Iterator[None]:
    """A job that is locked before its time has come: the relay passes by."""
    at = (datetime.now(timezone.utc) + timedelta(seconds=3)).isoformat()
    answer = fetch(f"{stack.url}/jobs", "POST", JSON, stack.job(eta=at))
    assert answer.status == 202
    with connect(stack.database.url) as connection, connection.cursor() as cursor:
        connection.begin()
        cursor.execute("SELECT id FROM jobs WHERE id = %s FOR UPDATE", [answer.json()["id"]])
        yield
        connection.rollback()


@contextmanager
def failing_receivers(stack: Stack) -> Iterator[None]:
    for _ in range(MANY):
        body = stack.job(webhook=f"http://127.0.0.1:{stack.nowhere}/")
        assert fetch(f"{stack.url}/jobs", "POST", JSON, body).status == 202
    yield


Fault = Callable[[Stack], Any]
FAULTS: dict[str, Fault] = {
    "NowaitNoServer": no_server,
    "NowaitBrokerDown": no_broker,
    "NowaitBrokerBlocked": an_alarm,
    "NowaitNoWorkers": no_worker,
    "NowaitQueriesFailing": a_revoked_account,
    "NowaitOverloaded": more_calls_than_may_wait,
    "NowaitCallsNotTaken": a_policy_that_lets_nothing_in,
    "NowaitMessagesRejected": no_task,
    "NowaitQueueFull": a_full_queue,
    "NowaitLoopBlocked": a_blocked_loop,
    "NowaitLoopStuck": a_stuck_loop,
    "NowaitDatabaseDown": no_database,
    "NowaitSchedulesLate": no_scheduler,
    "NowaitJobsLate": jobs_that_nobody_looks_after,
    "NowaitWebhooksFailing": failing_receivers,
    "NowaitCertificateEnds": a_certificate_that_ends,
    "NowaitFilesNotRead": a_certificate_that_cannot_be_read,
}


def test_each_alert_has_a_fault() -> None:
    assert set(FAULTS) == set(re.findall(r"- alert: (\w+)", ALERTS.read_text()))


# Each takes a quarter of a minute to be seen, and to be over.
SHORT = ("NowaitNoWorkers", "NowaitQueueFull")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """One without the jobs of others, which would be late."""
    database = Database(tmp_path / "database")
    try:
        database.start()
        database.wait_ready()
        sample.load(database.url)
        migrate(database.url)
        yield database
    finally:
        database.stop()


@pytest.fixture
def stack(private_broker: Broker, database: Database, start: Start, tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(private_broker, database, start, tmp_path)
    yield stack
    stack.stop()


def test_each_alert_fires_for_its_fault_and_for_no_other(
    stack: Stack, tmp_path: Path, scale: float, figures: Figures
) -> None:
    prometheus = Prometheus(tmp_path, stack.metrics)
    try:
        # All has been seen once.
        wait_until(lambda: bool(prometheus.query('nowait_queue_consumers{queue="queries.jobs"} > 0')))
        wait_until(lambda: bool(prometheus.query("nowait_database_up == 1")))
        # Before the first look there was no server.
        wait_until(lambda: prometheus.firing() == set())
        for alert in FAULTS if scale else SHORT:
            assert prometheus.firing() == set()
            began = time.monotonic()
            with FAULTS[alert](stack):
                wait_until(lambda: prometheus.firing() != set(), 120.0)
                fired = time.monotonic() - began
                # Another one would follow.
                time.sleep(5 * scale or 1)
            wait_until(lambda: prometheus.firing() == set(), 120.0)
            assert prometheus.firing(time.monotonic() - began) == {alert}
            figures.remark(f"alert {alert}", fired=fired, over=time.monotonic() - began)
        expressions = re.findall(r'"expr": "(.*)"', (ROOT / "deploy/metrics/dashboard.json").read_text())
        for expression in expressions:
            prometheus.query(json.loads(f'"{expression}"').replace("$__rate_interval", "15s"))
    finally:
        prometheus.process.kill()
