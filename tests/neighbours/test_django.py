"""A Django project beside Nowait's server: the same broker, the same workers, the same topic."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from deploy.local.process import free_port
from deploy.local.services import Services
from tests.conftest import Hold
from tests.http import fetch
from tests.neighbours.conftest import Run
from tests.system.conftest import wait_until

PROJECT = Path(__file__).parent / "project"

# The environment is made within the first test.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def django_url(run: Run, services: Services, server_url: str) -> str:
    """The URL of the project, served by uvicorn."""
    port = free_port()
    variables = {"NOWAIT_BROKER_URL": services.broker_url, "SERVER_URL": server_url}
    server = run("uvicorn", "web.asgi:application", "--port", str(port), cwd=PROJECT, **variables)
    url = f"http://127.0.0.1:{port}"
    server.wait_until(lambda: fetch(f"{url}/news").status == 200, 60.0)
    return url


@contextmanager
def following(url: str, last_event_id: str | None = None) -> Iterator[HTTPResponse]:
    """A stream of events, from where its first id is."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
    headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
    connection.request("GET", urlsplit(url).path, headers=headers)
    response = connection.getresponse()
    assert (response.status, response.headers["Content-Type"]) == (200, "text/event-stream")
    try:
        if last_event_id is None:
            field(response, "id")
        yield response
    finally:
        response.close()
        connection.close()


def field(response: HTTPResponse, name: str) -> str:
    """The next field of that name in a stream of events."""
    while True:
        line = response.readline().decode()
        assert line, "the stream has ended"
        if line.startswith(f"{name}: "):
            return line.partition(": ")[2].rstrip()


def text(response: HTTPResponse) -> str:
    """The text of the next message."""
    return str(json.loads(field(response, "data"))["data"]["text"])


def publish(server_url: str, text: str) -> None:
    """Publish to the topic at Nowait's server."""
    body = json.dumps({"text": text}).encode()
    assert fetch(f"{server_url}/topics/news", "POST", {"Content-Type": "application/json"}, body).status == 202


def test_the_rows_that_delay_gets_are_those_of_the_server(django_url: str, server_url: str) -> None:
    assert fetch(f"{django_url}/users/1").json() == fetch(f"{server_url}/mysql_query/1").json()


def test_calls_of_both_that_wait_in_one_worker_get_each_its_own(django_url: str, server_url: str, hold: Hold) -> None:
    flags = range(1, 5)
    with ThreadPoolExecutor(8) as clients:
        with hold() as held:
            djangos = [clients.submit(fetch, f"{django_url}/users/{flag}") for flag in flags]
            servers = [clients.submit(fetch, f"{server_url}/mysql_query/{flag}") for flag in flags]
            wait_until(lambda: held() == 8)
        rows = [answer.result().json() for answer in servers]
        assert [answer.result().json() for answer in djangos] == rows
    assert [{row["flag"] for row in each["rows"]} for each in rows] == [{flag} for flag in flags]


def test_no_reply_is_lost_over_many_requests(django_url: str) -> None:
    # One after the other, so that each has a thread of Django's of its own.
    statuses = [fetch(f"{django_url}/users/1").status for _ in range(30)]
    assert statuses == [200] * 30


def test_a_task_that_fails_does_so_in_django_by_its_name(django_url: str) -> None:
    answer = fetch(f"{django_url}/users/{2**31}")
    assert answer.status == 500
    assert answer.json() == {"error": "BadParameters", "detail": "users: flag: maximum 2147483647 is expected"}


def test_celerys_calls_do_what_the_page_has_of_them(neighbours: Path, services: Services, server_url: str) -> None:
    done = subprocess.run(
        [str(neighbours / "python"), "contract.py"], cwd=PROJECT, capture_output=True, text=True, timeout=120,
        env={"NOWAIT_BROKER_URL": services.broker_url},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    canvas = "InvalidMessage: the body names other tasks to send"
    assert seen == {
        "delay": 10,
        "keywords": 20,
        "by name": 50,
        "countdown": 100,
        "expired": "TaskRevokedError: expired",
        "slow": "QueryFailed: error 1969 of the database",
        "priority and headers": 10,
        "group": [10, 20],
        "bad argument": "BadParameters: users: flag: type 'integer' is expected",
        "no such task": "NotRegistered: 'task.nothing'",
        "chain": canvas,
        "link": canvas,
        "compressed": "InvalidMessage: the header compression: compressed content is not allowed",
        "pickle": "InvalidMessage: the content has no type and encoding that the worker accepts, such as JSON in UTF-8",
        "inspect": None,
        "ignored": None,
    }


def test_a_page_of_django_gets_what_is_published_at_the_server(django_url: str, server_url: str) -> None:
    with following(f"{django_url}/news/events") as events:
        publish(server_url, "rain")
        last = field(events, "id")
        assert text(events) == "rain"
    publish(server_url, "snow")
    with following(f"{django_url}/news/events", last) as events:
        assert text(events) == "snow"


def test_a_follower_of_the_server_gets_what_is_published_from_a_page_of_django(
    django_url: str, server_url: str, browser: Browser
) -> None:
    with following(f"{server_url}/topics/news/events") as events:
        page = browser.new_page()
        with page.expect_response(lambda response: response.url.endswith("/news/events")):
            page.goto(f"{django_url}/news")
        page.get_by_label("News").fill("sun")
        page.get_by_role("button").click()
        assert text(events) == "sun"
        expect(page.locator("li")).to_have_text(["sun"])
        page.close()


def test_a_server_that_is_away_ends_the_events_and_the_page_comes_again(run: Run, services: Services) -> None:
    port, nobody = free_port(), free_port()
    variables = {"NOWAIT_BROKER_URL": services.broker_url, "SERVER_URL": f"http://127.0.0.1:{nobody}"}
    server = run("uvicorn", "web.asgi:application", "--port", str(port), cwd=PROJECT, **variables)
    server.wait_until(lambda: fetch(f"http://127.0.0.1:{port}/news").status == 200, 60.0)
    answer = fetch(f"http://127.0.0.1:{port}/news/events")
    assert (answer.status, answer.body) == (200, b"retry: 5000\n\n")
