"""The metrics of a whole stack, as they are scraped: of two server processes, of workers by threads and by processes,
and of a scheduler.
"""

import json
import math
import re
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

import nowait
from deploy.local.process import Process, free_port, listens
from deploy.local.services import Services
from nowait import errors
from tests.conftest import ROOT, Start, celery_worker, printed, ready, services_settings
from tests.docs.pages import blocks, rows
from tests.http import fetch
from tests.metrics import Scrape, scrape
from tests.system.conftest import wait_until

REQUESTS = "nowait_http_requests_total"
SLOW = """\
[slow]
queue = "queries.slow"
[slow.parameters.delay]
type = "number"
"""


class Site(NamedTuple):
    """What is scraped; ports are those of the metrics."""

    url: str
    server: Process
    server_port: int
    worker_port: int
    forking: Process
    forking_port: int
    scheduler_port: int


@pytest.fixture(scope="module")
def site(
    services: Services, new_vhosts: Iterator[str], start: Start, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A stack with a broker of its own: "queries.slow" is served by processes, all else by threads."""
    folder = tmp_path_factory.mktemp("queries") / "sql"
    shutil.copytree(ROOT / "tasks/sql", folder)
    (folder / "slow.sql").write_text("SELECT SLEEP(:delay) AS slept")
    (folder / "slow.toml").write_text(SLOW)
    settings = {**services_settings(services), "broker_url": next(new_vhosts)}
    ports = [free_port() for _ in range(5)]
    addresses = [f"127.0.0.1:{port}" for port in ports]
    server = start("server", "server", port=ports[4], processes=2, demo=1, metrics=addresses[0], **settings)
    started = [server]
    for options, address in (
        ("-P threads -c 4 -Q queries,queries.streams,queries.jobs", addresses[1]),
        ("-P prefork -c 2 -Q queries.slow", addresses[2]),
    ):
        started.append(celery_worker(start, "tasks", *options.split(), metrics=address, queries=folder, **settings))
    beat = start("beat", *"celery -A tasks beat -l INFO".split(), metrics=addresses[3], **settings)
    url = ready(server, ports[4])
    wait_until(lambda: printed(server).count("broker connected") == 2)
    wait_until(lambda: all(map(listens, ports)))
    yield Site(url, server, ports[0], ports[1], started[2], ports[2], ports[3])
    for process in (*started, beat):
        process.kill()


def test_requests_are_counted_by_route_method_and_status(site: Site) -> None:
    # No other test makes any of these.
    for method, path, times, status in (
        ("GET", "/jobs?limit=1", 3, 200), ("GET", "/jobs?limit=2", 2, 200), ("GET", "/jobs?limit=none", 1, 400),
        ("DELETE", "/a/b", 4, 404),
    ):  # fmt: skip
        assert [fetch(site.url + path, method).status for _ in range(times)] == [status] * times

    def counted(**labels: str) -> float:
        return scrape(site.server_port).get(REQUESTS, **labels)

    wait_until(lambda: counted(route="/jobs", method="GET", status="200") == 5)
    wait_until(lambda: counted(route="/jobs", method="GET", status="400") == 1)
    wait_until(lambda: counted(route="none", method="DELETE", status="404") == 4)
    assert scrape(site.server_port).of("nowait_http_request_seconds_count", route="/jobs") >= 6


def test_a_method_that_no_route_has_is_none_that_a_client_chooses(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", int(site.url.rpartition(":")[2]))) as client:
        client.sendall(b"BREW /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        while client.recv(65536):
            pass

    def methods() -> set[str]:
        return {labels["method"] for labels in scrape(site.server_port).labels(REQUESTS)}

    wait_until(lambda: "other" in methods())
    assert "BREW" not in methods()


def test_calls_have_their_stages(site: Site) -> None:
    before = scrape(site.server_port)
    assert fetch(f"{site.url}/queries/slow?delay=0.5").status == 200

    def more(what: str, stage: str) -> float:
        name = f"nowait_call_stage_seconds_{what}"
        return scrape(site.server_port).get(name, stage=stage) - before.get(name, stage=stage)

    wait_until(lambda: more("sum", "run") >= 0.5)
    assert all(more("count", stage) >= 1 for stage in ("confirm", "queue", "run", "reply"))
    found = scrape(site.server_port)
    assert found.of("nowait_calls_total", task="task.run_query", outcome="answered") >= 1


def test_both_processes_are_seen_through_one_address_and_one_that_is_gone_is_not(site: Site) -> None:
    wait_until(lambda: scrape(site.server_port)["nowait_server_processes"] == 2)
    fetch(f"{site.url}/healthz")
    name, labels = REQUESTS, {"route": "/healthz", "method": "GET", "status": "200"}
    wait_until(lambda: scrape(site.server_port).get(name, **labels) >= 1)
    victim = psutil.Process(site.server.pid).children()[0]
    files = Path(victim.environ()["PROMETHEUS_MULTIPROC_DIR"])
    before, names = scrape(site.server_port), {file.name for file in files.iterdir()}
    victim.kill()
    wait_until(lambda: printed(site.server).count("broker connected") == 3)
    wait_until(lambda: scrape(site.server_port).of("nowait_broker_processes", state="connected") == 2)
    found = scrape(site.server_port)
    assert found["nowait_server_processes"] == 2
    assert 0 < found["nowait_http_connections_limit"] <= 2 * 10_000
    # What is the same in both is no sum.
    assert found.of("nowait_build_info", version=nowait.__version__) == 1
    assert math.isnan(found["nowait_tls_certificate_expires_timestamp_seconds"])
    # What it has counted stays.
    assert found.of(name, **labels) >= before.of(name, **labels) >= 1
    # What is read does not grow with each process that has ended.
    assert {file.name for file in files.iterdir()} == names


def routes(site: Site) -> set[str]:
    """Those that have been counted."""
    return {labels["route"] for labels in scrape(site.server_port).labels(REQUESTS)}


def test_queues_the_database_and_the_loop_are_read_once_a_while(site: Site) -> None:
    def known() -> bool:
        found = scrape(site.server_port)
        queues = ("queries", "queries.slow", "queries.catalogue")
        return all(found.get("nowait_queue_consumers", queue=queue, kind="tasks") >= 1 for queue in queues)

    fetch(f"{site.url}/queries")
    wait_until(known)
    found = scrape(site.server_port)
    assert found.of("nowait_queue_consumers", queue="queries.catalogue", kind="tasks") == 2
    assert found.of("nowait_queue_messages", queue="queries", kind="tasks") == 0
    assert found["nowait_database_up"] == 1
    assert found.of("nowait_jobs", state="running") >= 0
    assert found["nowait_loop_lag_seconds_count"] > 20
    assert {labels["state"] for labels in found.labels("nowait_broker_seconds_total")} == {
        "connected", "blocked", "connecting", "stopped",
    }  # fmt: skip


def test_a_blocked_loop_is_seen_while_it_is_blocked(site: Site) -> None:
    """By another thread, or another process: the request for the metrics does not wait for the loop."""
    for child in psutil.Process(site.server.pid).children():
        child.suspend()
    try:
        assert scrape(site.server_port)["nowait_server_processes"] == 2
    finally:
        for child in psutil.Process(site.server.pid).children():
            child.resume()


def test_a_worker_of_threads_counts_its_tasks(site: Site) -> None:
    before = scrape(site.worker_port)
    labels = {"task": "task.query_users", "outcome": "succeeded"}
    assert fetch(f"{site.url}/mysql_query/1").status == 200
    wait_until(
        lambda: scrape(site.worker_port).get("nowait_tasks_total", **labels)
        == before.get("nowait_tasks_total", **labels) + 1
    )
    found = scrape(site.worker_port)
    assert found.of("nowait_task_seconds_count", task="task.query_users") >= 1
    assert found["nowait_worker_connected"] == 1
    assert found["nowait_worker_concurrency"] == 4
    assert {labels["pool"] for labels in found.labels("nowait_worker_database_connections")} == {
        "queries", "jobs", "steps",
    }  # fmt: skip


def test_the_processes_of_a_worker_count_together_and_those_that_are_gone_leave_what_they_have_counted(
    site: Site,
) -> None:
    def ran(outcome: str) -> float:
        return scrape(site.forking_port).get("nowait_tasks_total", task="task.run_query", outcome=outcome)

    before = ran("succeeded")
    for _ in range(4):
        assert fetch(f"{site.url}/queries/slow?delay=0").status == 200
    wait_until(lambda: ran("succeeded") == before + 4)
    first = {child.pid for child in psutil.Process(site.forking.pid).children()}
    with ThreadPoolExecutor(1) as other:
        answer = other.submit(fetch, f"{site.url}/queries/slow?delay=20")
        wait_until(lambda: scrape(site.forking_port).of("nowait_worker_tasks", state="running") == 1)
        for child in psutil.Process(site.forking.pid).children():
            child.kill()
        assert answer.result().status == 502
    wait_until(lambda: ran("lost") == 1)
    wait_until(lambda: len({child.pid for child in psutil.Process(site.forking.pid).children()} - first) == 2)
    assert ran("succeeded") == before + 4
    assert fetch(f"{site.url}/queries/slow?delay=0").status == 200
    wait_until(lambda: ran("succeeded") == before + 5)
    found = scrape(site.forking_port)
    assert found["nowait_worker_concurrency"] == 2
    assert found["nowait_worker_connected"] == 1


def test_a_job_is_counted_by_what_has_become_of_it(site: Site) -> None:
    body = b'{"name": "slow_count", "parameters": {"steps": 1, "pause": 0}}'
    headers = {"Content-Type": "application/json", "Prefer": "wait=20"}
    assert fetch(f"{site.url}/jobs", "POST", headers, body).json()["state"] == "succeeded"
    wait_until(lambda: scrape(site.worker_port).get("nowait_job_attempts_total", state="succeeded") >= 1)


def test_a_scheduler_says_when_it_has_looked(site: Site) -> None:
    wait_until(lambda: scrape(site.scheduler_port)["nowait_scheduler_last_pass_timestamp_seconds"] > time.time() - 10)
    assert scrape(site.scheduler_port).of("nowait_scheduler_passes_total", outcome="succeeded") >= 1


def test_no_label_is_a_path_a_key_or_an_id(site: Site) -> None:
    """Of what a client sends, nothing becomes a label: no series is made by it."""
    secrets = [f"secret_{number}" for number in range(2)]
    ids = [f"5ec2e700-0000-7000-8000-00000000000{number}" for number in range(2)]
    for secret, job in zip(secrets, ids):
        for path in (f"/{secret}", f"/queries/{secret}", f"/jobs/{job}", f"/topics/{secret}/events"):
            answer = fetch(site.url + path, headers={"X-Request-Id": secret, "Idempotency-Key": secret})
            assert answer.status == 404, path
    # They have been counted.
    wait_until(lambda: {"none", "/queries/{}", "/jobs/{}", "/topics/{}/events"} <= routes(site))
    for port in (site.server_port, site.worker_port, site.forking_port, site.scheduler_port):
        text = fetch(f"http://127.0.0.1:{port}/metrics").body.decode()
        assert not [each for each in (*secrets, *ids) if each in text]


@pytest.mark.parametrize("program", ["server", "worker", "beat"])
def test_an_address_that_is_taken_ends_a_program_with_one_line(
    site: Site, services: Services, start: Start, program: str
) -> None:
    commands = {
        "server": ["server"],
        "worker": "celery -A tasks worker -P solo".split(),
        "beat": "celery -A tasks beat".split(),
    }
    settings = {**services_settings(services), "metrics": f"127.0.0.1:{site.server_port}", "port": 0}
    process = start(program, *commands[program], **settings)
    wait_until(lambda: process.returncode is not None)
    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{site.server_port}: Address already in use" in printed(process)
    assert "Traceback" not in printed(process)


# Names of metrics in an expression of PromQL: not those of labels, functions or words of the language.
NAME = re.compile(r"\bnowait_[a-z_]+\b")
DOCUMENTED = {
    program: {cells[0].strip("`"): cells for cells in rows("docs/metrics.md", f"Metrics of {program}")}
    for program in ("servers", "workers", "schedulers")
}
ENDS = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("",), "gauge": ("",)}


@pytest.fixture
def scrapes(site: Site) -> dict[str, list[Scrape]]:
    """What each program gives, once everything has happened that makes a series."""
    headers = {"Content-Type": "application/json", "Prefer": "wait=20"}
    job = b'{"name": "slow_count", "parameters": {"steps": 1, "pause": 0}}'
    assert fetch(f"{site.url}/jobs", "POST", headers, job).status == 200
    assert fetch(f"{site.url}/queries/slow?delay=0").status == 200
    assert fetch(f"{site.url}/mysql_query/1").status == 200
    wait_until(lambda: "/mysql_query/{}" in routes(site))
    wait_until(lambda: "nowait_queue_consumers" in scrape(site.server_port).names())
    wait_until(lambda: "nowait_job_attempts_total" in scrape(site.worker_port).names())
    wait_until(lambda: "nowait_task_seconds_count" in scrape(site.forking_port).names())
    return {
        "servers": [scrape(site.server_port)],
        "workers": [scrape(site.worker_port), scrape(site.forking_port)],
        "schedulers": [scrape(site.scheduler_port)],
    }


@pytest.mark.parametrize("program", list(DOCUMENTED))
def test_the_page_has_each_metric_with_its_type_and_labels_and_no_other(
    scrapes: dict[str, list[Scrape]], program: str
) -> None:
    found: dict[str, tuple[str, set[str]]] = {}
    for each in scrapes[program]:
        for family, kind in each.families.items():
            name = f"{family}_total" if kind == "counter" else family
            labels = {label for end in ENDS[kind] for series in each.labels(name + end) for label in series}
            found[name] = kind, found.get(name, (kind, set[str]()))[1] | labels - {"le"}
    documented = {
        name: (kind, {label.strip("` ") for label in labels.split(",") if label})
        for name, kind, labels, _ in DOCUMENTED[program].values() for name in [name.strip("`")]
    }  # fmt: skip
    # A worker that has run no job, or rejected nothing, has no labels of these yet.
    assert {name: kind for name, (kind, _) in found.items()} == {name: kind for name, (kind, _) in documented.items()}
    assert {name: labels for name, (_, labels) in found.items()} == {n: labels for n, (_, labels) in documented.items()}


SELECTOR = re.compile(r"\b(nowait_[a-z_]+)\{([^}]*)\}")
ERRORS = {name for name in vars(errors) if isinstance(vars(errors)[name], type)}
MATCHER = re.compile(r'(\w+)(=~|!=|!~|=)"([^"]*)"')


def panels() -> list[str]:
    """The expressions of the dashboard."""
    dashboard = json.loads((ROOT / "deploy/metrics/dashboard.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


def expressions() -> list[str]:
    """All of the dashboard, the alerts and the page."""
    return [*panels(), (ROOT / "deploy/metrics/alerts.yml").read_text(), *blocks("docs/metrics.md", "promql")]


def test_each_metric_of_each_expression_is_there(scrapes: dict[str, list[Scrape]]) -> None:
    there = {name for each in scrapes.values() for scrape_ in each for name in scrape_.names()}
    named = {name for expression in expressions() for name in NAME.findall(expression)}
    assert named and named <= there, named - there


def test_each_label_of_each_expression_is_there_with_its_value(scrapes: dict[str, list[Scrape]]) -> None:
    """A misspelt one matches nothing, and an alert by it never fires."""
    found = [SELECTOR.findall(expression) for expression in expressions()]
    selected = [(name, MATCHER.findall(matchers)) for selectors in found for name, matchers in selectors]
    assert len(selected) > 10
    for name, matchers in selected:
        there = [labels for each in scrapes.values() for scrape_ in each for labels in scrape_.labels(name)]
        assert matchers
        for label, operator, value in matchers:
            values = {labels.get(label) for labels in there} - {None}
            if name == "nowait_calls_total" and operator in ("=", "=~"):
                assert label == "outcome" and set(value.split("|")) <= ERRORS, value
            else:
                # Of failures, and what is not to be, there may be none yet.
                assert value in values if operator == "=" else values, (name, label, operator, value)


def test_each_metric_is_in_the_dashboard() -> None:
    shown = {name for expression in panels() for name in NAME.findall(expression)}
    for metrics in DOCUMENTED.values():
        for name in metrics:
            assert {name, f"{name}_bucket", f"{name}_sum"} & shown, name
