"""docs/jobs.md followed: its commands in one shell, its jobs on a worker."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.catalogue import load
from tests import programs
from tests.conftest import ROOT
from tests.docs.pages import blocks, files, requests

PAGE = "docs/jobs.md"
_END = "-- the end of a command --"


@pytest.fixture
def printed(server_url: str) -> list[str]:
    """What each command of the page prints, one after the other in a shell."""
    programs.require("curl")
    commands = [command.replace("curl", "curl -s", 1) for command, _ in requests(PAGE)]
    script = "".join(f"{command}\necho\necho '{_END}'\n" for command in commands)
    script = script.replace("http://localhost:8000", server_url)
    ran = subprocess.run(["sh"], input=script, capture_output=True, text=True, timeout=60)
    return [part.strip() for part in ran.stdout.replace("\r", "").split(_END)[:-1]]


def test_the_commands_print_what_is_shown(printed: list[str]) -> None:
    shown = [expected for _, expected in requests(PAGE)]
    assert len(printed) == len(shown)
    for found, expected in zip(printed, shown):
        pattern = re.escape(expected).replace("…", ".*?") + (".*" if expected.endswith("…") else "")
        assert re.fullmatch(pattern, found, re.DOTALL), (expected, found)


@pytest.mark.parametrize(
    ("file", "name", "once"), [("closing.py", "close_month", True), ("mail.py", "mail.send", False)]
)
def test_a_job_of_the_page_is_listed(file: str, name: str, once: bool, tmp_path: Path) -> None:
    (tmp_path / file).write_text(files(PAGE)[file])
    program = f"""
import json, sys
sys.path.insert(0, {str(tmp_path)!r})
import {file.removesuffix(".py")}
from tasks.jobs.worker import list_jobs
print(json.dumps(list_jobs()))
"""
    printed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    listed: dict[str, Any] = {job["name"]: job for job in json.loads(printed.stdout)}
    assert (listed[name]["retry"]["max_retries"], listed[name]["once"]) == (3, once)


def test_the_query_of_the_page_is_a_job_with_the_limits_of_its_comments(tmp_path: Path) -> None:
    (tmp_path / "archive.sql").write_text(blocks(PAGE, "sql")[0])
    (tmp_path / "archive.toml").write_text(blocks(PAGE, "toml")[0])
    query = load(tmp_path)["archive"]
    assert (query.job, query.job_time_limit, query.retry.max_retries, query.retry.backoff) == (True, 7200.0, 5, 2.0)
    (tmp_path / "archive.toml").write_text(blocks(PAGE, "toml")[0].replace("job_time_limit = 7200.0", ""))
    assert f"{load(tmp_path)['archive'].job_time_limit:.0f} otherwise" in blocks(PAGE, "toml")[0]
