"""The suite on other platforms: `python -m tests.platforms --help`."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import psutil

from deploy.local.errors import LocalError
from deploy.local.folder import owned
from deploy.local.process import Process, free_port
from tests.conftest import ROOT
from tests.http import fetch
from tests.platforms.mysql import MySQL
from tests.platforms.root import Root

_FOLDER = ROOT / ".local" / "platforms"
_RUN_TIMEOUT, _STOP_TIMEOUT, _SUITE_TIMEOUT = 900.0, 15.0, 2400.0  # seconds
_PROGRESS = 30.0  # seconds between two lines of progress
_REPORT = Path(".local/report.xml")
_NEEDED = ("make", "python3")  # all that `make` is given; it installs the rest
_SHOWN = {"rabbitmq-server": "RabbitMQ", "mariadb-server-core": "MariaDB"}
# What touches the database, or has an answer of it.
_DATABASE_TESTS = (
    "tests/jobs", "tests/tasks", "tests/schedules", "tests/server", "tests/system", "tests/docs",
    *(
        f"tests/faults/jobs/test_{name}.py"
        for name in (
            "away", "chaos", "failpoints", "keys", "schedules", "schedules_known_bad", "takeover", "waiting",
        )
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What was run, where, and what came of it.

    Attributes:
        platform: its name.
        versions: of what is different there.
        what: the command.
        outcome: counts, or what went wrong.
        seconds: how long it took.
        good: True when nothing failed.
    """

    platform: str
    versions: str
    what: str
    outcome: str
    seconds: float
    good: bool


def main() -> int:
    """Run and print the table. Returns the exit status: 0 when nothing failed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.platforms",
        description="The suite on other platforms, each in a Debian of its own under .local/platforms, kept for next"
        " time. Needs root and a Debian machine.",
        epilog="platforms:\n" + "\n".join(f"  {name:12} {run.__doc__}" for name, run in PLATFORMS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", help="some platforms, separated by commas; all otherwise")
    parser.add_argument("--fresh", action="store_true", help="from nothing: delete the roots that earlier runs left")
    parser.add_argument("tests", nargs="*", help="what pytest gets after --: other tests than a platform's own")
    options = parser.parse_args()
    names = [name for name in options.only.split(",") if name] or list(PLATFORMS)
    if unknown := [name for name in names if name not in PLATFORMS]:
        parser.error(f"--only: there is no {', '.join(unknown)}; there are {', '.join(PLATFORMS)}")
    signal.signal(signal.SIGTERM, _interrupt)
    rows: list[Row] = []
    status = 0
    try:
        with owned(_FOLDER):
            for log in _FOLDER.glob("*.log"):
                log.unlink()
            for name in names:
                if options.fresh:
                    shutil.rmtree(_FOLDER / name, ignore_errors=True)
                for row in PLATFORMS[name](options.tests):
                    rows.append(row)
    except LocalError as error:
        print(error, file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        print("interrupted: the table has what was done", file=sys.stderr)
        status = 1
    for line in table(rows):
        print(line)
    return status or int(not all(row.good for row in rows))


def debian_13(tests: Sequence[str]) -> Iterator[Row]:
    """make run, make test and the other parts in a minimal Debian 13, from nothing."""
    root = _root("debian-13", "trixie")
    yield _make_run(root)
    yield from _make_test(root, tests)


def unstable(tests: Sequence[str]) -> Iterator[Row]:
    """make test and the other parts in a minimal Debian unstable: the newest RabbitMQ, MariaDB and Python."""
    yield from _make_test(_root("unstable", "sid"), tests)


def mysql(tests: Sequence[str]) -> Iterator[Row]:
    """The tests of the database from here, with the MySQL of Debian unstable."""
    root = Root(_FOLDER / "mysql", "sid")
    _say(f"mysql: {root.folder}")
    root.make()
    root.install("mysql-server-core")
    server = MySQL(root, _FOLDER / "mysql-server.log")
    chosen = tests or _DATABASE_TESTS
    try:
        server.start()
        command = [sys.executable, "-m", "pytest", f"--junitxml={_REPORT}", *chosen]
        environment = {**os.environ, "NOWAIT_DATABASE_URL": server.url}
        outcome = _pytest("mysql", command, ROOT / _REPORT, environment)
        yield Row("mysql", f"MySQL {server.version()}", f"pytest {' '.join(chosen)}", *outcome)
    finally:
        server.stop()


PLATFORMS: dict[str, Callable[[Sequence[str]], Iterator[Row]]] = {
    "debian-13": debian_13, "unstable": unstable, "mysql": mysql,
}  # fmt: skip


def table(rows: Sequence[Row]) -> list[str]:
    """The lines of a table in Markdown."""
    lines = ["", "| platform | versions | run | outcome | s |", "|---|---|---|---|---|"]
    return lines + [
        f"| {row.platform} | {row.versions} | `{row.what}` | {row.outcome} | {row.seconds:.0f} |" for row in rows
    ]


def _root(name: str, suite: str) -> Root:
    root = Root(_FOLDER / name, suite)
    _say(f"{name}: {root.folder}")
    root.make()
    root.install(*_NEEDED)
    root.copy_project()
    return root


def _make_run(root: Root) -> Row:
    """`make run`, until it has answered; then its end by SIGTERM."""
    name, port, started = root.folder.name, free_port(), time.monotonic()
    url = f"http://127.0.0.1:{port}"
    log = _FOLDER / f"{name}-run.log"
    _say(f"{name}: make run, see {log}")
    process = Process("make run", root.command(["env", f"NOWAIT_PORT={port}", "make", "run"]), output=log)
    try:
        process.wait_until(lambda: f"ready: {url}" in log.read_text(errors="replace"), _RUN_TIMEOUT)
        rows = len(fetch(f"{url}/mysql_query/1").json()["rows"])
        for child in psutil.Process(process.pid).children(recursive=True):
            if child.name() == "make":
                child.terminate()
        deadline = time.monotonic() + _STOP_TIMEOUT
        while process.returncode is None and time.monotonic() < deadline:
            time.sleep(0.1)
        stopped = process.returncode is not None and "\nstopped" in log.read_text(errors="replace")
        outcome = f"ready, {rows} rows, {'stopped' if stopped else 'not stopped'}"
        good = stopped and rows == 10
    except LocalError as error:
        outcome, good = str(error).partition(";")[0], False
    finally:
        process.kill()
    _say(f"{name}: {outcome}")
    return Row(name, _versions(root), "make run", outcome, time.monotonic() - started, good)


def _make_test(root: Root, tests: Sequence[str]) -> Iterator[Row]:
    """One part after the other; or just `tests`."""
    name = root.folder.name
    runs = [" ".join(tests)] if tests else ["", "--part long", "--part measured"]
    for arguments in runs:
        if arguments.startswith("--part"):
            command = [".venv/bin/python", "-m", "pytest", *arguments.split(), f"--junitxml={_REPORT}"]
            shown = f"pytest {arguments}"
        else:
            command = ["make", "test", f"ARGS=--junitxml={_REPORT} {arguments}"]
            shown = f"make test {arguments}".strip()
        outcome = _pytest(name, root.command(command), root.project / _REPORT, None)
        yield Row(name, _versions(root), shown, *outcome)


def _pytest(name: str, command: Sequence[str], report: Path, env: dict[str, str] | None) -> tuple[str, float, bool]:
    """Run tests to their end. Returns their counts, the seconds, and whether nothing failed."""
    started = shown = time.monotonic()
    log = _FOLDER / f"{name}-test-{len(list(_FOLDER.glob(f'{name}-test-*.log')))}.log"
    _say(f"{name}: tests, see {log}")
    report.unlink(missing_ok=True)
    process = Process(f"{name}: tests", command, env=env, cwd=ROOT, output=log)
    try:
        while process.returncode is None and time.monotonic() < started + _SUITE_TIMEOUT:
            if time.monotonic() > shown + _PROGRESS:
                shown = time.monotonic()
                _say(f"{name}: {shown - started:.0f} s  {_last_line(log)}")
            time.sleep(0.2)
        good = process.returncode == 0
    finally:
        process.kill()
    counts = _counts(report) if report.exists() else f"no report: {_last_line(log)}"
    _say(f"{name}: {counts}")
    return counts, time.monotonic() - started, good


def _counts(report: Path) -> str:
    """passed, failed and skipped of a JUnit file."""
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    tests, failed, skipped = (
        sum(int(suite.get(key, "0")) for suite in suites for key in keys)
        for keys in (("tests",), ("failures", "errors"), ("skipped",))
    )
    return f"{tests - failed - skipped} passed, {failed} failed, {skipped} skipped"


def _versions(root: Root) -> str:
    """RabbitMQ's, MariaDB's and Python's, as installed by now."""
    found = [f"{_SHOWN[package]} {version}" for package, version in root.versions(*_SHOWN).items()]
    python = subprocess.run(root.command(["python3", "--version"]), capture_output=True, text=True).stdout.strip()
    return ", ".join(sorted(found, reverse=True) + [python])


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip()[:100] for line in reversed(lines) if line.strip()), "")


def _say(text: str) -> None:
    print(text, flush=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
