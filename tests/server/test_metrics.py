"""What is measured, and from where, without a server around it."""

import asyncio
import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from prometheus_client import CollectorRegistry, generate_latest
from pymysql.cursors import DictCursor
from sqlalchemy import func, select
from sqlalchemy.dialects import mysql

from nowait.bridge import Bridge, Stages
from nowait.errors import DeadlineExceeded
from nowait.jobs.table import State
from nowait.link.depths import Depth
from server.app import make_app
from server.figures.shared import Shared
from server.http.connections import Connections as ClientConnections
from server.http.route import Route
from server.jobs.connections import Connections
from server.lifecycle import Server
from server.metrics.calls import CallMetrics
from server.metrics.events import EventMetrics
from server.metrics.metrics import Metrics
from server.metrics.moment import MomentMetrics
from server.metrics.statements import figures
from server.metrics.stored import StoredMetrics
from server.metrics.turn import Turn
from server.reloader import Reloader
from server.settings import Settings
from tests.bridge.conftest import until
from tests.conftest import connect
from tests.metrics import Scrape

NOWHERE = "mysql://a:b@127.0.0.1:1/c"


def read(registry: CollectorRegistry) -> Scrape:
    return Scrape(generate_latest(registry).decode())


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_a_call_is_counted_by_its_task_and_what_became_of_it(registry: CollectorRegistry) -> None:
    metrics = CallMetrics(registry)
    metrics.ended("a", None, Stages(confirm=0.1, queue=0.2, run=0.3))
    metrics.ended("a", DeadlineExceeded("late"), Stages())
    metrics.ended("a", asyncio.CancelledError(), Stages())
    metrics.ended(None, None, Stages(confirm=0.1))
    metrics.flush()
    found = read(registry)
    for task, outcome in (("a", "answered"), ("a", "DeadlineExceeded"), ("a", "cancelled"), ("message", "answered")):
        assert found.of("nowait_calls_total", task=task, outcome=outcome) == 1
    seconds = {stage: found.of("nowait_call_stage_seconds_sum", stage=stage) for stage in Stages._fields}
    assert seconds == pytest.approx({"confirm": 0.2, "queue": 0.2, "run": 0.3, "reply": 0.0})


def test_what_has_not_happened_yet_is_0_so_that_its_first_time_is_seen(registry: CollectorRegistry) -> None:
    EventMetrics(registry, ["parcels"])
    found = read(registry)
    assert found.of("nowait_messages_put_total", queue="parcels", outcome="QueueFull") == 0
    for outcome in ("http-2xx", "http-5xx", "timeout", "unreachable", "address-refused"):
        assert found.of("nowait_webhook_attempts_total", outcome=outcome) == 0


def test_a_receiver_chooses_no_label(registry: CollectorRegistry) -> None:
    metrics = EventMetrics(registry)
    for outcome in ("http-200", "http-204", "http-503", "timeout"):
        metrics.attempted(outcome, 0.1)
    found = read(registry)
    assert found.of("nowait_webhook_attempts_total", outcome="http-2xx") == 2
    assert found.of("nowait_webhook_attempts_total", outcome="http-5xx") == 1
    assert found["nowait_webhook_attempt_seconds_count"] == 4


def test_requests_are_counted_by_route_method_and_status(registry: CollectorRegistry) -> None:
    metrics = EventMetrics(registry)
    for _ in range(2):
        for _ in range(500):
            metrics.answered("/a", "GET", 200, 0.1)
        metrics.answered("/a", "BREW", 405, 0.1)
        metrics.flush()
    found = read(registry)
    assert found.of("nowait_http_requests_total", route="/a", method="GET", status="200") == 1000
    assert found.of("nowait_http_requests_total", route="/a", method="other", status="405") == 2
    assert found.of("nowait_http_request_seconds_count", route="/a") == 1002


def test_a_client_makes_no_series_by_its_methods(registry: CollectorRegistry) -> None:
    metrics = EventMetrics(registry)
    for number in range(100):
        metrics.answered("/a", f"BREW{number}", 405, 0.1)
    metrics.flush()
    assert len(read(registry).labels("nowait_http_requests_total")) == 1


def test_the_depth_of_a_queue_that_cannot_be_read_is_no_number(registry: CollectorRegistry) -> None:
    metrics = MomentMetrics(registry, {"a"})
    metrics.set_depths({"a": Depth(3, 2), "b": None})
    assert read(registry).of("nowait_queue_messages", queue="a", kind="messages") == 3
    assert math.isnan(read(registry).of("nowait_queue_consumers", queue="b", kind="tasks"))
    metrics.set_depths(None)
    assert math.isnan(read(registry).of("nowait_queue_messages", queue="a", kind="messages"))


class Open:
    """A connection."""

    def closed(self) -> bool:
        return False


class Broken:
    """Files that cannot be read again."""

    def changed(self) -> bool:
        return True

    async def reload(self) -> bool:
        return False


@pytest.mark.gen_test
async def test_connections_are_counted_and_files_that_cannot_be_read_again_are_seen(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.reloader._INTERVAL", 0.01)
    ends = datetime.now(timezone.utc)
    bridge = Bridge(Celery("measured", broker="amqp://127.0.0.1:1", set_as_current=False))
    certificate: Any = SimpleNamespace(expires=ends)
    clients: ClientConnections[Open] = ClientConnections(7)
    clients.opened(Open(), 0.0)
    server = Server(bridge, make_app(bridge, Settings()), clients, Reloader({"keys": Broken()}), certificate)
    metrics = MomentMetrics(registry)
    metrics.set(server, 1.0)
    assert read(registry).of("nowait_reloads_failing", of="keys") == 0
    reloading = asyncio.create_task(server.reloader.run())
    await until(lambda: bool(server.reloader.failing))
    reloading.cancel()
    metrics.set(server, 1.0)
    found = read(registry)
    assert (found["nowait_http_connections"], found["nowait_http_connections_limit"]) == (1, 7)
    assert found.of("nowait_reloads_failing", of="keys") == 1
    assert found.of("nowait_reloads_failing", of="certificate") == 0
    assert found["nowait_tls_certificate_expires_timestamp_seconds"] == ends.timestamp()
    metrics.set(replace(server, certificate=None), 1.0)
    assert math.isnan(read(registry)["nowait_tls_certificate_expires_timestamp_seconds"])


@pytest.mark.parametrize(
    ("pattern", "name"),
    [(r"/jobs", "/jobs"), (r"/jobs/([0-9a-f-]{36})/events", "/jobs/{}/events"), (r"/a/((?:b|c)+)", "/a/{}"),
     (r"/a\.json", "/a.json")],
)
def test_a_route_has_the_name_of_its_pattern(pattern: str, name: str) -> None:
    assert Route(pattern).name == name


@pytest.mark.gen_test
async def test_after_an_error_all_of_it_is_measured_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("server.metrics.metrics._PAUSE", 0.01)
    running: Counter[str] = Counter()
    begun: Counter[str] = Counter()

    class Work:
        def __init__(self, name: str) -> None:
            self.name = name

        async def run(self) -> None:
            running[self.name] += 1
            begun[self.name] += 1
            try:
                await asyncio.Event().wait()
            finally:
                running[self.name] -= 1

    class Instruments:
        lag, depths, latest_depths = Work("lag"), Work("depths"), None

    class App:
        instruments = Instruments()

    class Serving:
        app = App()

    failures = [RuntimeError("no figures")]

    class Moment(MomentMetrics):
        def set(self, *_: Any) -> None:
            if failures and running["lag"] and running["depths"]:
                raise failures.pop()

    class Stored(StoredMetrics):
        async def read(self, _: Any) -> None: ...

    metrics = Metrics(
        CallMetrics(None), EventMetrics(None), Moment(None), Stored(None, figures()), None, NOWHERE
    )
    monkeypatch.setattr("server.metrics.metrics._INTERVAL", 0.01)
    server: Any = Serving()
    measuring = asyncio.create_task(metrics.run(server))
    await until(lambda: begun["lag"] == begun["depths"] == 2)
    assert (running["lag"], running["depths"]) == (1, 1)
    assert "no figures" in caplog.text
    measuring.cancel()
    await asyncio.wait([measuring])
    assert not running.total()


@pytest.mark.gen_test
async def test_shared_work_goes_on_until_nobody_needs_it() -> None:
    running = begun = 0

    async def work() -> None:
        nonlocal running, begun
        running, begun = running + 1, begun + 1
        try:
            await asyncio.Event().wait()
        finally:
            running -= 1

    shared = Shared(work)
    for round_ in (1, 2):
        users = [asyncio.create_task(shared.run()) for _ in range(3)]
        await until(lambda: running == 1)
        users.pop().cancel()
        await asyncio.sleep(0)
        assert (running, begun) == (1, round_)
        for user in users:
            user.cancel()
        await until(lambda: running == 0)


def test_one_of_several_processes_has_the_turn_until_it_ends(tmp_path: Path) -> None:
    first, second = Turn(tmp_path), Turn(tmp_path)
    assert first.take() and not second.take() and first.take()
    first.close()
    assert second.take()
    second.close()
    assert Turn(None).take()


@asynccontextmanager
async def connections(url: str) -> AsyncIterator[Connections]:
    made = Connections(url)
    try:
        yield made
    finally:
        await made.close()


Add = Callable[..., None]


@pytest.fixture
def add(database_url: str) -> Iterator[Add]:
    """Adds a job, with the columns that matter; moments are seconds from now."""
    with connect(database_url) as connection, connection.cursor() as cursor:

        def add(number: int, state: str, **moments: float) -> None:
            given = {"created": 0.0, "due": 0.0, **moments}
            places = ", ".join("TIMESTAMPADD(MICROSECOND, %s, UTC_TIMESTAMP(6))" for _ in given)
            cursor.execute(
                f"INSERT INTO jobs (id, name, queue, parameters, retry, state, {', '.join(given)})"
                f" VALUES (%s, 'a', 'q', '{{}}', '{{}}', %s, {places})",
                [f"{number:036d}", state, *(round(seconds * 1e6) for seconds in given.values())],
            )

        yield add


@pytest.mark.gen_test
async def test_jobs_are_counted_by_state_and_the_longest_wait_is_known(
    database_url: str, add: Add, registry: CollectorRegistry
) -> None:
    add(1, "queued", created=-500.0, eta=1000.0, due=1000.0)  # is to wait
    add(2, "queued", created=-50.0, due=10.0)
    add(3, "running", created=-70.0, started=-60.0, due=-20.0)
    add(4, "succeeded", due=3600.0)
    async with connections(database_url) as made:
        metrics = StoredMetrics(registry, figures())
        await metrics.read(made)
    found = read(registry)
    counts = {state.value: found.of("nowait_jobs", state=state.value) for state in State}
    assert counts == {"queued": 2, "running": 1, "succeeded": 1, "failed": 0, "cancelled": 0, "expired": 0}
    assert 50 <= found.of("nowait_jobs_oldest_seconds", state="queued") < 70
    assert 60 <= found.of("nowait_jobs_oldest_seconds", state="running") < 80
    assert 20 <= found["nowait_jobs_late_seconds"] < 40
    assert found["nowait_database_up"] == 1
    assert found["nowait_schedules"] == found["nowait_schedules_late_seconds"] == found["nowait_webhooks_pending"] == 0


@pytest.mark.gen_test
async def test_of_a_database_that_has_never_answered_nothing_is_known(registry: CollectorRegistry) -> None:
    """There may be none, where nobody uses jobs."""
    metrics = StoredMetrics(registry, figures())
    assert math.isnan(read(registry)["nowait_database_up"])
    async with connections(NOWHERE) as made:
        await metrics.read(made)
    assert math.isnan(read(registry)["nowait_database_up"])


@pytest.mark.gen_test
async def test_a_database_that_is_too_slow_for_the_figures_is_up(
    database_url: str, registry: CollectorRegistry
) -> None:
    metrics = StoredMetrics(registry, select(func.sleep(60)))
    async with connections(database_url) as made:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("server.metrics.stored._TIMEOUT", 1.0)
            await metrics.read(made)
    found = read(registry)
    assert found["nowait_database_up"] == 1
    assert math.isnan(found["nowait_jobs_late_seconds"])


@pytest.mark.gen_test
async def test_of_a_database_that_is_away_nothing_is_known_but_that(
    database_url: str, registry: CollectorRegistry
) -> None:
    metrics = StoredMetrics(registry, figures())
    for url in (database_url, NOWHERE):
        async with connections(url) as made:
            await metrics.read(made)
    found = read(registry)
    assert found["nowait_database_up"] == 0
    assert math.isnan(found["nowait_schedules_late_seconds"]) and math.isnan(found.of("nowait_jobs", state="queued"))


def test_the_database_is_read_by_its_indexes(database_url: str, add: Add) -> None:
    for number in range(500):
        add(number, "queued" if number % 2 else "succeeded")
    dialect: Any = mysql.dialect()
    statement = str(figures().compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    with connect(database_url) as connection, connection.cursor(DictCursor) as cursor:
        cursor.execute("ANALYZE TABLE jobs")
        cursor.execute(f"EXPLAIN {statement}")
        plan = cursor.fetchall()
    for step in plan:
        if step["table"] in ("jobs", "schedules", "deliveries"):
            assert step["key"] in ("state", "due"), json.dumps(step, default=str)
