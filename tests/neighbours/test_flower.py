"""Flower beside Nowait's workers."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.local.process import free_port
from deploy.local.services import Services
from tests.bridge.conftest import running, until
from tests.conftest import Start, celery_worker
from tests.http import fetch
from tests.neighbours.conftest import Run

# The environment is made within the first test.
pytestmark = [pytest.mark.timeout(600), pytest.mark.gen_test(timeout=120)]


async def test_flower_sees_workers_and_what_they_run_without_its_results(
    run: Run, vhost: str, services: Services, start: Start, tmp_path: Path
) -> None:
    port = free_port()
    arguments = ["--broker", vhost, "flower", "--address=127.0.0.1", f"--port={port}"]
    flower = run("celery", *arguments, cwd=tmp_path, FLOWER_UNAUTHENTICATED_API="true")

    def seen(path: str) -> Any:
        answer = fetch(f"http://127.0.0.1:{port}/api/{path}")
        return json.loads(answer.body) if answer.status == 200 else {}

    flower.wait_until(lambda: fetch(f"http://127.0.0.1:{port}/api/tasks").status == 200, 60.0)
    settings = {"broker_url": vhost, "database_url": services.database_url}
    celery_worker(start, "tasks", "-E", "-P", "threads", "-c", "2", remote_control=1, **settings)
    # From then on it reads events.
    await until(lambda: list(seen("workers?status=1").values()) == [True])
    async with running(vhost) as bridge:
        call = bridge.send_task("task.query_users", [1], queue="queries", timeout=60.0)
        assert len(await call) == 10
    await until(lambda: seen("tasks").get(call.id, {}).get("state") == "SUCCESS")
    task = seen("tasks")[call.id]
    assert (task["name"], task["args"]) == ("task.query_users", "[1]")
    assert "name" not in task["result"]
