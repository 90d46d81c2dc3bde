"""docs/jobs.md followed: its commands in one shell, its jobs on a worker."""

import re
import subprocess

import pytest

from tests import programs
from tests.docs.pages import requests

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
