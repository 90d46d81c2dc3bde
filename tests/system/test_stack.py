"""The whole thing as processes, over HTTP."""

import asyncio
import json
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from deploy.local.process import Process, free_port
from deploy.local.services import Services
from tests.conftest import Hold, Start, celery_worker, printed, ready, services_settings
from tests.http import assert_problem, fetch
from tests.system.conftest import Volley, soon, wait_until

VARIANTS = ("", "/blocking", "/threads", "/aiomysql", "/asyncmy")
Sleeping = Callable[[], int]


@pytest.mark.gen_test
async def test_a_hundred_slow_queries_do_not_hold_up_a_fast_answer(server_url: str, hold: Hold) -> None:
    volley = Volley()
    with hold() as held:
        volley.send(f"{server_url}/mysql_query/1", times=100)
        await soon(lambda: held() == 100)
        volley.send(f"{server_url}/i_want_you_now")
        await soon(lambda: len(volley.done) == 1)
    done = await volley.all()
    assert done[0][0].endswith("/i_want_you_now")
    assert [answer.status for _, answer in done] == [200] * 101


@pytest.mark.gen_test
async def test_one_query_that_blocks_holds_up_everybody(server_url: str, hold: Hold) -> None:
    volley = Volley()
    with hold() as held:
        volley.send(f"{server_url}/blocking/mysql_query/1")
        await soon(lambda: held() == 1)
        volley.send(f"{server_url}/i_want_you_now")
        await asyncio.sleep(0.3)
        assert volley.done == []
    done = await volley.all()
    assert done[-1][0].endswith("/i_want_you_now")
    assert [answer.status for _, answer in done] == [200, 200]


@pytest.mark.gen_test
@pytest.mark.parametrize(("variant", "times"), [("threads", 20), ("aiomysql", 50), ("asyncmy", 50)])
async def test_threads_and_the_async_driver_do_not_hold_it_up_either(
    server_url: str, hold: Hold, variant: str, times: int
) -> None:
    volley = Volley()
    with hold() as held:
        volley.send(f"{server_url}/{variant}/mysql_query/1", times)
        await soon(lambda: held() == times)
        volley.send(f"{server_url}/i_want_you_now")
        await soon(lambda: len(volley.done) == 1)
    done = await volley.all()
    assert done[0][0].endswith("/i_want_you_now")
    assert [answer.status for _, answer in done] == [200] * (times + 1)


def test_named_queries_are_served_with_what_the_worker_told(server_url: str) -> None:
    listed = {query["name"]: query for query in fetch(f"{server_url}/queries").json()["queries"]}
    assert listed.keys() == {"users", "count_users"}
    assert "flag" in listed["users"]["parameters"]["properties"]
    same = fetch(f"{server_url}/mysql_query/1").json()["rows"]
    assert fetch(f"{server_url}/queries/users?flag=1").json() == {"query": "users", "rows": same}
    rows = fetch(f"{server_url}/queries/count_users").json()["rows"]
    assert sum(row["users"] for row in rows) == 10_000
    assert_problem(fetch(f"{server_url}/queries/users?flag=x"), 400)
    assert_problem(fetch(f"{server_url}/queries/nobody"), 404)


def test_an_answer_tells_where_its_time_went(server_url: str) -> None:
    timing = fetch(f"{server_url}/mysql_query/1?delay=0.2").headers["server-timing"]
    parts = dict(part.strip().split(";dur=") for part in timing.split(","))
    assert parts.keys() == {"bridge", "queue", "run"}
    assert float(parts["bridge"]) >= float(parts["run"]) >= 200


@pytest.mark.gen_test
async def test_a_query_ends_in_the_database_when_nobody_waits_for_it_any_more(
    server_url: str, sleeping: Sleeping
) -> None:
    answer = fetch(f"{server_url}/mysql_query/1?delay=60", headers={"Prefer": "wait=1"})
    assert_problem(answer, 504)
    await soon(lambda: sleeping() == 0, timeout=10.0)


@pytest.mark.gen_test
async def test_two_hundred_slow_queries_on_one_worker_run_at_once(server_url: str, hold: Hold) -> None:
    volley = Volley()
    with hold() as held:
        volley.send(f"{server_url}/mysql_query/1", times=200)
        await soon(lambda: held() == 200)
    assert [answer.status for _, answer in await volley.all()] == [200] * 200


@pytest.mark.parametrize("flag", [*range(11), 2147483647])
def test_all_variants_answer_with_the_same_bytes(server_url: str, flag: int) -> None:
    answers = [fetch(f"{server_url}{variant}/mysql_query/{flag}") for variant in VARIANTS]
    assert [answer.status for answer in answers] == [200] * len(VARIANTS)
    assert len({answer.body for answer in answers}) == 1
    assert len({answer.headers["content-type"] for answer in answers}) == 1
    document = answers[0].json()
    assert (document["flag"], bool(document["rows"])) == (flag, flag < 10)


def test_the_worker_logs_how_long_a_query_took_and_no_rows(server_url: str, worker: Process) -> None:
    fetch(f"{server_url}/mysql_query/1")
    line = re.compile(r"Task task\.query_users\[[^]]+\] succeeded in \d+\.\d{3}s$", re.MULTILINE)
    wait_until(lambda: line.search(printed(worker)) is not None)
    assert not re.search(r"succeeded in .*[^0-9.s\n]", printed(worker))


def test_a_bridged_answer_says_how_long_it_took(server_url: str) -> None:
    assert fetch(f"{server_url}/mysql_query/1").headers["server-timing"].startswith("bridge;dur=")


def test_bad_requests_leave_the_server_as_it_was(server_url: str) -> None:
    parts = urlsplit(server_url)
    assert_problem(fetch(f"{server_url}/mysql_query/1?delay=61"), 400)
    assert_problem(fetch(f"{server_url}/mysql_query/4294967296"), 400)
    assert_problem(fetch(f"{server_url}/mysql_query/x"), 404)
    assert_problem(fetch(f"{server_url}/mysql_query/1", method="DELETE"), 405)
    assert_problem(fetch(f"{server_url}/healthz", headers={"X-Long": "x" * 70_000}), 431)
    assert_problem(fetch(f"{server_url}/healthz", method="POST", body=b"x" * 2_000_000), 413)
    for garbage in (b"\r\n\r\n", b"\x00\xff" * 1000, b"GET / HTTP/9.9\r\n\r\n", b"x" * 2_000_000):
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as sock:
            try:
                sock.sendall(garbage)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
            except OSError:
                pass  # it hung up on us, as it may
        assert fetch(f"{server_url}/mysql_query/1").status == 200


def test_without_a_worker_the_answer_is_504_at_the_deadline(
    vhost: str, services: Services, start: Start
) -> None:
    settings = {**services_settings(services), "broker_url": vhost}
    port = free_port()
    url = ready(start("server", "server", port=port, demo=1, **settings), port)
    assert assert_problem(fetch(f"{url}/mysql_query/1"), 503)["type"].endswith(":no-queue")
    worker = celery_worker(start, "tasks", "-P", "solo", **settings)
    wait_until(lambda: fetch(f"{url}/mysql_query/1").status == 200)
    worker.kill()
    answer = fetch(f"{url}/mysql_query/1", headers={"Prefer": "wait=0.5"})
    assert assert_problem(answer, 504)["type"].endswith(":deadline-exceeded")
    assert fetch(f"{url}/i_want_you_now").status == 200


def test_a_task_that_fails_is_500_and_the_log_has_the_reason(vhost: str, services: Services, start: Start) -> None:
    settings = {**services_settings(services), "broker_url": vhost}
    nowhere = services.database_url.rpartition("/")[0] + "/no_such_database"
    worker = celery_worker(start, "tasks", "-P", "solo", **{**settings, "database_url": nowhere})
    port = free_port()
    server = start("server", "server", port=port, **settings)
    url = ready(server, port)
    answer = fetch(f"{url}/mysql_query/1", headers={"X-Request-Id": "look-for-me"})
    assert assert_problem(answer, 500)["request_id"] == "look-for-me"
    assert b"no_such_database" not in answer.body
    wait_until(lambda: "look-for-me" in printed(server))
    (line,) = [line for line in printed(server).splitlines() if "look-for-me" in line and "FAILURE" in line]
    assert "of the database" in line
    # What the database itself has said, which may quote SQL, is in the worker's log alone.
    assert "no_such_database" not in printed(server)
    wait_until(lambda: "no_such_database" in printed(worker))


@pytest.mark.parametrize("processes", [1, 2])
def test_however_often_a_server_is_stopped_it_ends_with_0(services: Services, start: Start, processes: int) -> None:
    port = free_port()
    server = start("server", "server", port=port, processes=processes, **services_settings(services))
    ready(server, port)
    while server.returncode is None:
        server.signal(signal.SIGTERM)
        time.sleep(0.001)
    assert server.returncode == 0


def test_sigterm_answers_what_is_in_flight_and_ends_with_0(
    services: Services, start: Start, server_url: str, sleeping: Sleeping
) -> None:
    port = free_port()
    server = start("server", "server", port=port, demo=1, shutdown_timeout=30, **services_settings(services))
    url = ready(server, port)
    answers = []
    client = threading.Thread(target=lambda: answers.append(fetch(f"{url}/mysql_query/1?delay=2")))
    client.start()
    wait_until(lambda: sleeping() == 1)
    server.signal(signal.SIGTERM)
    wait_until(lambda: fetch(f"{url}/i_want_you_now").status == 0)
    assert not answers
    client.join(60)
    assert server.stop(30) == 0
    assert answers[0].status == 200
    assert len(json.loads(answers[0].body)["rows"]) == 10
