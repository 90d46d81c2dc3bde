"""Runs the commands of a page in one shell, and compares what they print."""

import re
import subprocess

from tests import programs
from tests.docs.pages import requests

_END = "-- the end of a command --"


def assert_printed_as_shown(page: str, server_url: str) -> None:
    """Run all commands of a page, one after the other; an `…` of the page stands for anything."""
    programs.require("curl")
    commands = [command.replace("curl", "curl -s", 1) for command, _ in requests(page)]
    script = "".join(f"{command}\necho\necho '{_END}'\n" for command in commands)
    script = script.replace("http://localhost:8000", server_url)
    ran = subprocess.run(["sh"], input=script, capture_output=True, text=True, timeout=60)
    printed = [part.strip() for part in ran.stdout.replace("\r", "").split(_END)[:-1]]
    shown = [expected for _, expected in requests(page)]
    assert len(printed) == len(shown)
    for found, expected in zip(printed, shown):
        pattern = re.escape(expected).replace("…", ".*?") + (".*" if expected.endswith("…") else "")
        assert re.fullmatch(pattern, found, re.DOTALL), (expected, found)
