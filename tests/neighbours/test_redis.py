"""Redis beside Nowait: what docs/neighbours.md has of it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from deploy.local.process import Process, free_port, listens
from nowait.errors import DeadlineExceeded, Unroutable
from nowait.worker import Results
from tests import programs
from tests.bridge.conftest import running
from tests.conftest import ROOT, printed
from tests.docs.pages import files, requests
from tests.neighbours.conftest import Run

PAGE = "docs/neighbours.md"
REFUSED = "broker 'redis://…' is not allowed, expected RabbitMQ: amqp:// or amqps://"

# The environment is made within the first test.
pytestmark = [pytest.mark.timeout(600), pytest.mark.gen_test(timeout=120)]


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis of this module's."""
    programs.require("redis-server")
    port = free_port()
    command = [programs.path("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    folder = tmp_path_factory.mktemp("redis")
    redis = Process("redis", command, cwd=folder, output=folder / "log")
    try:
        redis.wait_until(lambda: listens(port), 60.0)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        redis.stop()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder with the files of the page."""
    for name, content in files(PAGE).items():
        (tmp_path / name).write_text(content)
    return tmp_path


def test_the_command_of_the_page_prints_the_reason() -> None:
    ((command, shown),) = requests(PAGE)
    code = command.removeprefix('python -c "').removesuffix('"')
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1] == shown.removeprefix("…") == f"ValueError: {REFUSED}"


def test_a_result_backend_with_redis_as_its_broker_is_refused() -> None:
    with pytest.raises(ValueError) as caught:
        Results(Celery("refused", broker="redis://:secret@127.0.0.1:1", set_as_current=False))
    assert str(caught.value) == REFUSED


def test_a_worker_with_the_consumer_does_not_start_on_redis(run: Run, project: Path, redis_url: str) -> None:
    (project / "with_consumer.py").write_text(
        "from on_redis import app\n\napp.conf.worker_consumer = 'nowait.worker:Consumer'\n"
    )
    variables = {"PYTHONPATH": str(ROOT), "REDIS_URL": redis_url}
    worker = run(*"celery -A with_consumer worker -P solo".split(), cwd=project, **variables)
    worker.wait_until(lambda: printed(worker).endswith(f"ValueError: {REFUSED}\n"), 60.0)


def started(run: Run, application: str, project: Path, **variables: str) -> Process:
    """A worker of an application, ready to work."""
    worker = run(*f"celery -A {application} worker -l INFO -P solo".split(), cwd=project, **variables)
    worker.wait_until(lambda: " ready." in printed(worker), 60.0)
    return worker


def total(neighbours: Path, project: Path, redis_url: str) -> str:
    """What the application on Redis gets of its task, by `delay`."""
    code = "import on_redis, orders; print(orders.total.delay([1.5, 2.5]).get(timeout=20))"
    done = subprocess.run(
        [str(neighbours / "python"), "-c", code], cwd=project, env={"REDIS_URL": redis_url}, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


async def test_a_bridge_is_served_by_workers_on_rabbitmq_and_not_by_those_on_redis(
    run: Run, neighbours: Path, project: Path, redis_url: str, vhost: str
) -> None:
    started(run, "on_redis", project, REDIS_URL=redis_url)
    async with running(vhost) as bridge:
        with pytest.raises(Unroutable):
            await bridge.send_task("orders.total", [[1.5, 2.5]], queue="orders")
        started(run, "on_rabbitmq", project, BROKER_URL=vhost)
        assert await bridge.send_task("orders.total", [[1.5, 2.5]], queue="orders", timeout=30.0) == 4.0
    assert total(neighbours, project, redis_url) == "4.0"


async def test_a_worker_that_puts_its_results_into_redis_runs_the_task_and_the_call_gets_no_answer(
    run: Run, project: Path, redis_url: str, vhost: str
) -> None:
    code = files(PAGE)["on_rabbitmq.py"].replace('"rpc://"', f'"{redis_url}"')
    (project / "results_in_redis.py").write_text(code)
    worker = started(run, "results_in_redis", project, BROKER_URL=vhost)
    async with running(vhost) as bridge:
        call = bridge.send_task("orders.total", [[1.5, 2.5]], queue="orders", timeout=3.0)
        with pytest.raises(DeadlineExceeded):
            await call
    assert f"Task orders.total[{call.id}] succeeded" in printed(worker)
