"""The audit of dependencies: nothing that could not be looked up passes for good, and nothing is waited for long."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from deploy.supply.audit import Finding, Report
from tests.conftest import ROOT

PYTHON = ROOT / ".venv/supply/bin/python"  # `make test` makes it
FLAW = "GHSA-0000-0000-0000"


def document(**packages: dict[str, Any]) -> dict[str, Any]:
    """A report as pip-audit writes it."""
    return {"dependencies": [{"name": name, **package} for name, package in packages.items()], "fixes": []}


def test_packages_of_which_nothing_is_known_are_fine() -> None:
    report = Report.of(document(tornado={"version": "6.6.1", "vulns": []}))
    assert (report.status, report.known, report.unknown) == (0, ["tornado"], [])


def test_packages_that_the_service_does_not_have_are_not_fine() -> None:
    skipped = {"skip_reason": "Dependency not found on PyPI and could not be audited"}
    assert Report.of(document(tornado=skipped)).status == 3
    assert Report.of(document(tornado={"version": "6.6.1", "vulns": []}, celery=skipped)).status == 3
    assert Report.of(document()).status == 3


def test_a_finding_has_what_one_needs_to_act() -> None:
    known = {"id": FLAW, "fix_versions": ["6.6.2", "6.7"], "aliases": [], "description": "…"}
    report = Report.of(document(tornado={"version": "6.6.1", "vulns": [known]}))
    assert report.findings == [Finding("tornado", "6.6.1", FLAW, ("6.6.2", "6.7"))]
    assert str(report.findings[0]) == f"tornado 6.6.1: {FLAW}, fixed in 6.6.2, 6.7"
    assert report.status == 1


class Answers(BaseHTTPRequestHandler):
    """The service: it knows of a flaw in tornado below 6.6.2 and of none elsewhere."""

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        package = query["package"]
        ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "6.6.2"}]}]
        flaw = {"id": FLAW, "summary": "…", "affected": [{"package": package, "ranges": ranges}]}
        known = package["name"] == "tornado" and query["version"] == "6.6.1"
        body = json.dumps({"vulns": [flaw]} if known else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The URL of that service."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def pinned(tmp_path: Path) -> Path:
    file = tmp_path / "requirements.txt"
    file.write_text("six==1.17.0 \\\n    --hash=sha256:" + 64 * "0" + "\n    # via nobody\n")
    return file


def audit(url: str, *arguments: str | Path) -> tuple[int, str]:
    """The status of the audit, by the service of the URL, and what it prints."""
    ran = subprocess.run(
        [PYTHON, "-m", "deploy.supply.audit", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PIP_AUDIT_VULNERABILITY_SERVICE": "osv", "PIP_AUDIT_OSV_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
    )
    return ran.returncode, ran.stdout


def test_the_audit_finds_what_is_known(service: str, pinned: Path) -> None:
    pinned.write_text(f"{pinned.read_text()}tornado==6.6.1 --hash=sha256:{64 * '0'}\n")
    found = f"audit: tornado 6.6.1: {FLAW}, fixed in 6.6.2\n"
    assert audit(service, "--if-reachable", "--first-within", "60", pinned) == (1, found)


def test_a_service_out_of_reach_costs_seconds_and_a_line(pinned: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        status, printed = audit(f"http://127.0.0.1:{silent.getsockname()[1]}", "--if-reachable", pinned)
    assert (status, printed.count("\n")) == (0, 1)
    assert printed.startswith("audit: NOT DONE, the data of known vulnerabilities cannot be reached: ")
    status, printed = audit("http://127.0.0.1:9", pinned)
    assert (status, printed.count("\n")) == (3, 1) and printed.startswith("audit: NOT DONE, ")


@pytest.mark.parametrize("first", ["-r other.txt", "six>=1.17", ""])
def test_a_file_that_does_not_begin_with_a_pinned_package_is_refused_with_a_line(tmp_path: Path, first: str) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(f"# what hosts install\n{first}\n")
    line = f"audit: {file} does not begin with a package that is pinned: name==version\n"
    assert audit("http://127.0.0.1:9", file) == (2, line)


def test_each_file_is_looked_at_before_anything_is_asked(pinned: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    command = "http://127.0.0.1:9", "--if-reachable", pinned, other
    assert audit(*command) == (2, f"audit: {other} cannot be read: No such file or directory\n")
    other.write_text("six>=1.17\n")
    assert audit(*command) == (2, f"audit: {other} does not begin with a package that is pinned: name==version\n")
