"""docs/own-project.md followed."""

import subprocess
from pathlib import Path

import pytest

from deploy.local.process import free_port
from tests.conftest import printed
from tests.docs.pages import blocks, requests
from tests.docs.project.conftest import Run, environment
from tests.docs.test_readme import assert_answered
from tests.http import fetch

PAGE = "docs/own-project.md"
_, START = blocks(PAGE, "sh")

# The environment is made within the first test.
pytestmark = pytest.mark.timeout(600)


def test_the_wheel_is_used_and_not_this_tree(programs: Path, tmp_path: Path) -> None:
    command = [str(programs / "python"), "-c", "import nowait; print(nowait.__file__)"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(programs), capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith(str(programs.parent))


def test_fastapi_answers_through_the_bridge(run: Run) -> None:
    worker_command, server_command = START.splitlines()
    port = free_port()
    server = run(server_command.replace("8000", str(port)))
    url = f"http://127.0.0.1:{port}"
    server.wait_until(lambda: fetch(f"{url}/ready").status == 200, 60.0)

    # No worker has made the queue yet.
    answer = fetch(f"{url}/total", "POST", {"Content-Type": "application/json"}, b"[1.5]")
    assert (answer.status, answer.headers["retry-after"], answer.json()) == (503, "5", {"error": "Unroutable"})

    worker = run(worker_command, "--loglevel", "INFO")
    worker.wait_until(lambda: " ready." in printed(worker), 60.0)
    ((command, expected),) = requests(PAGE)
    assert_answered(command, expected, url)
