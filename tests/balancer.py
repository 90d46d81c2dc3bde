"""HAProxy with deploy/haproxy.cfg, on this machine."""

import os
import re
from pathlib import Path

from deploy.local.process import Process, free_port
from tests import programs
from tests.conftest import ROOT

CONFIGURATION = (ROOT / "deploy/haproxy.cfg").read_text()


def begin(folder: Path, ports: list[int], configuration: str = CONFIGURATION) -> tuple[Process, int]:
    """A balancer before the servers with these ports, and its own port, to which it does not listen yet."""
    programs.require("haproxy")
    port, rest = free_port(), iter(ports)
    configuration = configuration.replace("bind :80", f"bind 127.0.0.1:{port}")
    configuration = re.sub(r"\w+\.example:\d+", lambda _: f"127.0.0.1:{next(rest)}", configuration)
    assert next(rest, None) is None
    if os.getuid() != 0:
        # Only root becomes another user.
        configuration = re.sub(r"^ +(user|group|chroot) .*\n", "", configuration, flags=re.MULTILINE)
    file = folder / "haproxy.cfg"
    file.write_text(configuration)
    return Process("haproxy", [programs.path("haproxy"), "-db", "-f", str(file)], output=folder / "log"), port
