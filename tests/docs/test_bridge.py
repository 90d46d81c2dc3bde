"""The examples of docs/bridge.md run."""

import ast
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from deploy.local.process import Process
from deploy.local.services import Services
from nowait.bridge import Stages
from tests.bridge.conftest import running
from tests.conftest import ROOT, printed
from tests.docs.conftest import Launch
from tests.docs.pages import files, fragments

PAGE = "docs/bridge.md"
(
    PROGRAM, IDEMPOTENT, ENCODED, LINES, STREAM, NUMBERS, PUBLISH, CONSUME, SUBSCRIBE, PROGRESS, OBSERVER,
    FAKE, FAKE_QUEUE,
) = fragments(PAGE)  # fmt: skip


async def run(fragment: str, **names: Any) -> dict[str, Any]:
    """Run a fragment that may await at its top level, as `python -m asyncio` does; returns its names."""
    code = compile(fragment, PAGE, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    pending = types.FunctionType(code, names)()
    if pending is not None:
        await pending
    return names


@pytest.fixture
def reports(vhost: str, launch: Launch, tmp_path: Path) -> None:
    """The worker of the page, a stock one."""
    (tmp_path / "reports.py").write_text(f"{files(PAGE)['reports.py']}\n{LINES}\n{NUMBERS}")
    worker = launch(
        "worker", sys.executable, *"-m celery -A reports worker -P solo -l INFO".split(), cwd=tmp_path,
        PYTHONPATH=str(ROOT), NOWAIT_BROKER_URL=vhost,
    )  # fmt: skip
    worker.wait_until(lambda: " ready." in printed(worker), 60.0)


def test_the_program_prints_what_it_should(services: Services, worker: Process, tmp_path: Path) -> None:
    example = tmp_path / "example.py"
    example.write_text(PROGRAM)
    environment = {"PYTHONPATH": str(ROOT), **services.environment()}
    done = subprocess.run([sys.executable, str(example)], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["10 rows", "20 rows called back", "TaskFailed 500"], done.stderr


@pytest.mark.gen_test
async def test_progress_is_followed_and_idempotent_tasks_are_sent(
    vhost: str, reports: None, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(vhost) as bridge:
        assert (await run(IDEMPOTENT, bridge=bridge))["total"] == 3
        capsys.readouterr()
        await run(PROGRESS, bridge=bridge)
    steps = [f"PROGRESS {{'page': {page}}}" for page in range(3)]
    assert capsys.readouterr().out.splitlines() == [*steps, "3"]


@pytest.mark.gen_test
async def test_a_result_is_passed_on_as_it_is_encoded(
    vhost: str, reports: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with running(vhost) as bridge:
        result = (await run(ENCODED, bridge=bridge))["result"]
    assert (tmp_path / "lines.json").read_text() == '[{"line":0},{"line":1},{"line":2}]'
    assert result.parts == ()


@pytest.mark.gen_test
async def test_an_answer_in_parts_is_read(
    vhost: str, reports: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with running(vhost) as bridge:
        await run(STREAM, bridge=bridge)
    assert (tmp_path / "numbers.txt").read_text() == "".join(f"{number}\n" for number in range(100_000))


@pytest.mark.gen_test
async def test_the_fake_stands_for_broker_and_workers() -> None:
    await run(FAKE)
    await run(FAKE_QUEUE)


@pytest.mark.gen_test
async def test_an_observer_sees_what_has_ended() -> None:
    names = await run(OBSERVER, app=Celery("client", broker="amqp://127.0.0.1:1//", set_as_current=False))
    assert names["bridge"].send_task("report.pages", [3], queue="reports").exception()
    names["Slowest"]().ended("report.pages", None, Stages(queue=1.0))
    await names["bridge"].stop()


@pytest.mark.gen_test
async def test_other_messages_are_published_consumed_and_followed(
    vhost: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(vhost) as bridge:
        await run(PUBLISH, bridge=bridge)
        await run(CONSUME, bridge=bridge)
        assert (await run(SUBSCRIBE, bridge=bridge))["offset"] == 1
    assert capsys.readouterr().out.splitlines() == ["""b'{"to":"Ada"}' False""", """0 b'{"rain":true}'"""]
