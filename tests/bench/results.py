"""What a run has found so far, and how it goes on: in steps, so that it may end after each."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from tests import programs


@dataclass
class Results:
    """Everything that a report is made of; all of it JSON values.

    Attributes:
        about: the machine, versions and settings.
        figures: what the measurements of bridge and worker found, in the order of the run.
        peers: the rounds of each peer, by its name: what our own side did, and what the peer did.
        missing: why a peer was not measured, by its name.
        how: the settings of a peer, in words, by its name.
        cells: requests per second of each variant, delay and number of connections.
        classic: the same by ab and siege, for each variant.
        latency: percentiles of each variant at a constant rate, in milliseconds.
        isolation: seconds and milliseconds of each answer of /i_want_you_now, for each variant.
        sizes: by number of rows: bytes of the answer, connections, and the requests per second of each side's rounds.
        beside: percentiles of /i_want_you_now, in milliseconds, while each side fetches answers of each size.
        jobs: the rounds of each peer of the durable jobs, as `peers`.
        beats: what was counted of each side, with one scheduler and with two.
        failed: what could not be measured, and why.
    """

    about: dict[str, Any] = field(default_factory=dict)
    figures: list[dict[str, Any]] = field(default_factory=list)
    peers: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    how: dict[str, str] = field(default_factory=dict)
    cells: list[dict[str, Any]] = field(default_factory=list)
    classic: dict[str, dict[str, float]] = field(default_factory=dict)
    latency: dict[str, dict[str, float]] = field(default_factory=dict)
    isolation: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    sizes: dict[str, dict[str, Any]] = field(default_factory=dict)
    beside: list[dict[str, Any]] = field(default_factory=list)
    jobs: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = field(default_factory=dict)
    beats: list[dict[str, Any]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def write(self, file: Path) -> None:
        """Keep all of it."""
        file.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class Step:
    """A part of a run.

    Attributes:
        name: what is measured.
        seconds: how long it takes, roughly.
        run: measures it, and adds it to the results.
    """

    name: str
    seconds: float
    run: Callable[[Results], object]


def about(quick: bool) -> dict[str, Any]:
    """The machine, and the versions of all that counts."""
    packages = ("celery", "kombu", "amqp", "tornado", "PyMySQL", "aiomysql", "asyncmy", "SQLAlchemy", "k6")
    return {
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()) + " UTC",
        "run": "quick" if quick else "full",
        "revision": _said(["git", "rev-parse", "--short", "HEAD"]) or "unknown",
        "machine": f"{_processor()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": platform.platform(),
        "versions": {
            "Python": sys.version.split()[0],
            **{package: metadata.version(package) for package in packages},
            "RabbitMQ": _package("rabbitmq-server"),
            "MariaDB": _package("mariadb-server-core") or _package("mariadb-server"),
            "wrk": _package("wrk"),
        },
    }


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.machine()


def _package(name: str) -> str:
    """The version of a Debian package, "" when it is not known."""
    if programs.find("dpkg-query") is None:
        return ""
    return _said(["dpkg-query", "--show", "--showformat=${Version}", name])


def _said(command: list[str]) -> str:
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""
