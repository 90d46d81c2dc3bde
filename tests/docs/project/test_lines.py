"""docs/worker.md followed, and its lines added to another application."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import amqp
import pytest
from kombu import Connection

from deploy.local.process import Process
from nowait.errors import UnknownTask
from tests.bridge.conftest import running
from tests.conftest import printed
from tests.docs.pages import blocks, requests
from tests.docs.project.conftest import Printed, Run
from tests.system.conftest import wait_until

PAGE = "docs/worker.md"
(START,) = blocks(PAGE, "sh")
CONSUMER, RESULTS = "nowait.worker:Consumer", "nowait.worker:Results"
# The lines that the other application gets.
LINES = {
    "neither": {"result_backend": "rpc://"},
    # Only a result backend that keeps results has chords.
    "consumer": {"worker_consumer": CONSUMER, "result_backend": "file://{folder}"},
    "results": {"result_backend": RESULTS},
    "both": {"worker_consumer": CONSUMER, "result_backend": RESULTS},
}
SEEN = {
    "result": 3, "routed": 6, "chain": 10, "group": [1, 2, 3], "later": 3, "retry": 1,
    "failure": "LookupError('no grain')", "no task": "NotRegistered",
}  # fmt: skip

# The environment is made within the first test.
pytestmark = [pytest.mark.timeout(600), pytest.mark.gen_test(timeout=120)]


def started(worker: Process) -> Process:
    """The worker, when it is ready to work."""
    worker.wait_until(lambda: " ready." in printed(worker), 60.0)
    return worker


def ended(worker: Process) -> int:
    """The status of a worker that ends."""
    wait_until(lambda: worker.returncode is not None)
    assert worker.returncode is not None
    return worker.returncode


def test_the_commands_of_the_page_print_what_they_should(run: Run, prints: Printed) -> None:
    worker = started(run(START))
    for command, expected in requests(PAGE):
        pattern = re.escape(expected).replace("…", ".*")
        assert re.match(pattern, prints(command).strip())
    assert "broker connected" in printed(worker)
    assert "mingle" not in printed(worker)


async def test_a_foreign_application_rejects_what_is_no_task_of_its(run: Run, vhost: str) -> None:
    started(run(START))
    async with running(vhost) as bridge:
        with pytest.raises(UnknownTask):
            await bridge.send_task("warehouse.unknown", queue="parts", timeout=30.0)
        assert await bridge.send_task("warehouse.stock", ["bolt"], queue="parts", timeout=60.0) == 4


@pytest.fixture(params=LINES)
def lines(request: pytest.FixtureRequest, project: Path) -> str:
    """The lines of the other application, which is in the project's folder."""
    for name in ("mill.py", "mill_client.py"):
        shutil.copy(Path(__file__).with_name(name), project)
    (project / "results").mkdir()
    return json.dumps(LINES[request.param]).replace("{folder}", str(project / "results"))


def test_another_application_works_with_each_line_as_without(
    lines: str, run: Run, prints: Printed, vhost: str
) -> None:
    worker = started(run("celery -A mill worker -l INFO -P threads -c 2", LINES=lines))
    if "file:" in lines:
        seen = json.loads(prints("python mill_client.py chord", LINES=lines))
        assert seen == {**SEEN, "chord": 6}
    else:  # a stock caller reads all replies
        assert json.loads(prints("python mill_client.py", LINES=json.dumps(LINES["neither"]))) == SEEN
    assert ": OK" in prints("celery -A mill inspect ping", LINES=lines)
    wait_until(lambda: dead_letters(vhost) == (CONSUMER in lines))

    caller = run("python -c 'from mill import slow; print(slow.delay().get(timeout=30))'", LINES=lines)
    worker.wait_until(lambda: "mill.slow has begun" in printed(worker), 60.0)
    worker.terminate()
    assert (ended(worker), ended(caller), printed(caller)) == (0, 0, "ground\n")


def dead_letters(url: str) -> int:
    """How many messages are in the dead-letter queue; 0 when there is none."""
    with Connection(url) as connection:
        channel: Any = connection.channel()
        try:
            return int(channel.queue_declare("queries.dead", passive=True).message_count)
        except amqp.NotFound:
            return 0
