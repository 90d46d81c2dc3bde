"""The requests of the README are answered as it shows."""

import subprocess

import pytest

from tests import programs
from tests.docs.pages import requests


def assert_answered(command: str, expected: str, url: str) -> None:
    """Run one command against a server and compare what it prints, up to the first `…`."""
    programs.require("curl")
    command = command.replace("http://localhost:8000", url).replace("curl", "curl -s", 1)
    printed = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60).stdout
    start, cut, _ = expected.partition("…")
    assert printed.startswith(start) if cut else printed.splitlines() == start.splitlines()


@pytest.mark.parametrize(("command", "expected"), requests("README.md"))
def test_a_request_is_answered_as_shown(server_url: str, command: str, expected: str) -> None:
    assert_answered(command, expected, server_url)
