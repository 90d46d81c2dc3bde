"""docs/own-project.md followed, in an environment of its own that has the wheel and not this tree."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.process import Process, free_port
from nowait.errors import UnknownTask
from tests.bridge.conftest import running
from tests.conftest import printed
from tests.docs.conftest import Launch, copy_tree
from tests.docs.pages import PAGES, blocks, files, requests
from tests.docs.test_readme import assert_answered
from tests.http import fetch

PAGE = "docs/own-project.md"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
INSTALL, START = blocks(PAGE, "sh")
(WAREHOUSE,) = re.findall(r"`(celery -A warehouse .*?)`", PAGES[PAGE])
STOCK_CLIENT = """
import sys
from celery import Celery
result = Celery("client", broker=sys.argv[1], backend="rpc://").send_task("warehouse.stock", ["screw"], queue="parts")
print(result.get(timeout=30.0))
"""

# The environment is made within the first test.
pytestmark = [pytest.mark.timeout(600), pytest.mark.gen_test(timeout=120)]


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a new environment, installed as on the page, with pinned versions of all others."""
    folder = tmp_path_factory.mktemp("environment")
    checkout = copy_tree(folder / "checkout")
    programs = folder / "venv/bin"
    commands = [
        f"{shlex.quote(sys.executable)} -m venv {folder}/venv",
        f"python -m pip install --quiet --require-hashes -r {REQUIREMENTS}",
        *INSTALL.splitlines(),
    ]
    for command in commands:
        done = subprocess.run(
            command, shell=True, cwd=checkout, env=environment(programs), capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return programs


def environment(programs: Path) -> dict[str, str]:
    """This process's environment with other programs first, and without what leads to this tree."""
    return {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": ""}


Run = Callable[..., Process]


@pytest.fixture
def run(programs: Path, vhost: str, launch: Launch, tmp_path: Path) -> Run:
    """Starts a command of the page in a folder with the page's files, `run(command, *more)`."""
    for name, content in files(PAGE).items():
        (tmp_path / name).write_text(content)

    def run(command: str, *more: str) -> Process:
        program, *arguments = shlex.split(command)
        return launch(
            program, str(programs / program), *arguments, *more, cwd=tmp_path, PYTHONPATH="", BROKER_URL=vhost
        )

    return run


def run_worker(run: Run, command: str) -> Process:
    """A worker that is ready to work."""
    worker = run(command, "--loglevel", "INFO")
    worker.wait_until(lambda: " ready." in printed(worker), 60.0)
    return worker


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

    run_worker(run, worker_command)
    ((command, expected),) = requests(PAGE)
    assert_answered(command, expected, url)


async def test_a_foreign_application_has_the_consumer_and_the_result_backend(run: Run, vhost: str) -> None:
    worker = run_worker(run, WAREHOUSE)
    async with running(vhost) as bridge:
        assert await bridge.send_task("warehouse.stock", ["bolt"], queue="parts", timeout=60.0) == 4
    assert "mingle" not in printed(worker)


def test_a_stock_client_reads_the_replies_of_the_result_backend(run: Run, programs: Path, vhost: str) -> None:
    run_worker(run, WAREHOUSE)
    command = [str(programs / "python"), "-c", STOCK_CLIENT, vhost]
    done = subprocess.run(command, env=environment(programs), capture_output=True, text=True, timeout=60)
    assert done.stdout == "5\n", done.stderr


async def test_a_foreign_application_rejects_what_is_no_task_of_its(run: Run, vhost: str) -> None:
    run_worker(run, WAREHOUSE)
    async with running(vhost) as bridge:
        with pytest.raises(UnknownTask):
            await bridge.send_task("warehouse.unknown", queue="parts", timeout=30.0)
        assert await bridge.send_task("warehouse.stock", ["bolt"], queue="parts", timeout=60.0) == 4
