"""docs/queues.md followed: its commands, its consumer, its Celery worker."""

import json
import sys
from pathlib import Path

import pytest

from deploy.local.services import Services
from tests.conftest import printed
from tests.docs.conftest import Launch
from tests.docs.pages import blocks, files
from tests.docs.shell import assert_printed_as_shown

PAGE = "docs/queues.md"


@pytest.mark.parametrize("consumer", ["consumer.py", "packing.py"])
def test_what_is_put_into_the_queue_is_consumed(
    server_url: str, services: Services, launch: Launch, tmp_path: Path, consumer: str
) -> None:
    assert_printed_as_shown(PAGE, server_url)
    (tmp_path / consumer).write_text(files(PAGE)[consumer])
    variables = {"SERVER": server_url.removeprefix("http://"), "NOWAIT_BROKER_URL": services.broker_url}
    worker = ["-m", "celery", "-A", "packing", "worker", "-P", "solo", "-n", "packing@tests"]
    command = worker if consumer == "packing.py" else [consumer]
    process = launch("consumer", sys.executable, *command, cwd=tmp_path, **variables)
    lines = ["{'to': 'Ada'}", "{'to': 'Bob'}"]
    process.wait_until(lambda: all(line in printed(process) for line in lines), 60.0)


def test_the_message_that_is_shown_has_the_members_of_one() -> None:
    (shown,) = blocks(PAGE, "json")
    assert list(json.loads(shown)) == ["tag", "message_id", "redelivered", "data"]
