"""docs/keys.md followed."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.local.process import Process, free_port
from deploy.local.services import Services
from tests import programs
from tests.conftest import ROOT, Start, ready, services_settings
from tests.docs.pages import requests

PAGE = "docs/keys.md"
_PATIENCE = 30.0  # seconds; a server reads its keys once a second


def test_the_commands_print_what_is_shown(
    services: Services, worker: Process, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs.require("curl")
    (tmp_path / "keys.json").touch()
    port = free_port()
    server = start("server", "server", port=port, keys=tmp_path / "keys.json", **services_settings(services))
    url = ready(server, port)
    environment = {**os.environ, "NOWAIT_KEYS": "keys.json", "PYTHONPATH": str(ROOT)}
    for command, expected in requests(PAGE):
        command = command.replace("curl", "curl -s", 1).replace("http://localhost:8000", url)
        command = command.replace(".venv/bin/python", sys.executable, 1)
        pattern = re.escape(expected).replace("…", ".*?") + (".*" if expected.endswith("…") else "")
        # The figures of the limits go on with each try.
        pattern = pattern.replace("r=599;t=1", r"r=5\d\d;t=1")
        end = time.monotonic() + _PATIENCE
        while True:
            ran = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
            printed = ran.stdout.replace("\r", "").strip()
            if re.fullmatch(pattern, printed, re.DOTALL):
                break
            assert "curl" in command and time.monotonic() < end, (command, printed, ran.stderr)
            time.sleep(0.2)
    assert server.stop() == 0
