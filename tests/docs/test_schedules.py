"""docs/schedules.md followed: its commands, and its file."""

import re
import subprocess
import sys
from pathlib import Path

from tests import programs
from tests.conftest import ROOT
from tests.docs.pages import blocks, requests
from tests.http import fetch

PAGE = "docs/schedules.md"


def test_the_commands_print_what_is_shown(server_url: str) -> None:
    programs.require("curl")
    for command, expected in requests(PAGE):
        command = command.replace("http://localhost:8000", server_url).replace("curl", "curl -s", 1)
        printed = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60).stdout
        pattern = re.escape(expected).replace("…", ".*?") + (".*" if expected.endswith("…") else "")
        assert re.fullmatch(pattern, printed.replace("\r", "").strip(), re.DOTALL), (expected, printed)


def test_the_file_is_taken_as_the_page_has_it(server_url: str, tmp_path: Path) -> None:
    (tmp_path / "schedules.toml").write_text(blocks(PAGE, "toml")[0])
    (command,) = blocks(PAGE, "sh")
    command = command.replace("http://localhost:8000", server_url).replace("python", sys.executable, 1)
    command = command.replace("schedules.toml", str(tmp_path / "schedules.toml")).strip()

    def run(arguments: str) -> int:
        return subprocess.run(f"{command} {arguments}", shell=True, cwd=ROOT, stdin=subprocess.DEVNULL).returncode

    try:
        assert run("") == 1
        assert run("--yes") == 0
        assert run("") == 0
    finally:
        for name in ("close-month", "hourly"):
            fetch(f"{server_url}/schedules/{name}", "DELETE")
