"""Known vulnerabilities of what is pinned: python -m deploy.supply.audit [--if-reachable] [FILE ...]

pip-audit looks them up, where its own variables name: PIP_AUDIT_VULNERABILITY_SERVICE, PIP_AUDIT_OSV_URL. It also ends
with "no known vulnerabilities" when its service knows none of the packages, as mirrors of an index do. So what it has
looked up is counted here, and one package is tried first: a service out of reach costs seconds.

Status: 0 when nothing is known of any package, 1 when something is, 2 for a file that is of no use, 3 when not all of
them could be looked up; with --if-reachable that is 0, too.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from textwrap import shorten
from typing import Any

from deploy.supply import OPTIONS, PARTS, requirements

# Findings that cannot be helped yet, by id: why they do no harm here.
ACCEPTED: dict[str, str] = {}

# Seconds: until an answer begins, for the first package by default, and for all packages.
_ANSWER = 3
_FIRST = 6.0
_ALL = 180.0


class Unreachable(Exception):
    """The data cannot be had; the text is why."""


@dataclass(frozen=True)
class Finding:
    """A vulnerability that is known of a pinned package."""

    package: str
    version: str
    id: str
    # The versions without it, oldest first; none when there is none yet.
    fixed: tuple[str, ...]

    def __str__(self) -> str:
        fixed = f"fixed in {', '.join(self.fixed)}" if self.fixed else "not fixed yet"
        return f"{self.package} {self.version}: {self.id}, {fixed}"


@dataclass(frozen=True)
class Report:
    """What has been looked up."""

    findings: list[Finding] = field(default_factory=list)
    # The packages of which the service has said something, and those of which it has not.
    known: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The exit status, as above."""
        return 1 if self.findings else 3 if self.unknown or not self.known else 0

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Report":
        """The report in pip-audit's JSON."""
        report = cls()
        for package in document["dependencies"]:
            (report.unknown if "skip_reason" in package else report.known).append(package["name"])
            for found in package.get("vulns", []):
                fixed = tuple(found["fix_versions"])
                report.findings.append(Finding(package["name"], package["version"], found["id"], fixed))
        return report


def look_up(files: Sequence[Path], seconds: float) -> Report:
    """What is known of the packages of requirement files, of those for this platform, within seconds.

    Raises Unreachable.
    """
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "--format", "json"]
    command += ["--progress-spinner", "off", "--timeout", str(_ANSWER)]
    for accepted in ACCEPTED:
        command += ["--ignore-vuln", accepted]
    for file in files:
        command += ["--requirement", str(file)]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Unreachable(f"no answer within {seconds:g} s") from None
    # Its status is 1 for findings, and for what is no finding at all.
    try:
        return Report.of(json.loads(ran.stdout))
    except ValueError:
        last = (ran.stderr.strip() or f"status {ran.returncode}").splitlines()[-1]
        raise Unreachable(f"pip-audit: {shorten(last, 120)}") from None


def audit(files: Sequence[Path], first_within: float = _FIRST) -> Report:
    """What is known of the packages of requirement files.

    Raises Unreachable, when nothing is known of the first package within those seconds.
    """
    first, *_ = [_first(file) for file in files]
    with NamedTemporaryFile("w", suffix=".txt") as one:
        one.write(f"{first}\n")
        one.flush()
        if not look_up([Path(one.name)], first_within).known:
            raise Unreachable(f"the service does not know {first}")
    return look_up(files, _ALL)


def _first(file: Path) -> str:
    """The first package of a requirement file. Raises SystemExit, with status 2, where there is none, or no version."""
    try:
        text = file.read_text()
    except (OSError, ValueError) as error:
        print(f"audit: {file} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}", file=sys.stderr)
        raise SystemExit(2) from None
    found = re.match(r"(?:#.*\n|\s)*([^\s;]+==[^\s;]+)", text)
    if found is None:
        print(f"audit: {file} does not begin with a package that is pinned: name==version", file=sys.stderr)
        raise SystemExit(2)
    return found[1]


def main() -> int:
    """Print a line of what is known, or one for each finding. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.supply.audit", description=__doc__.splitlines()[0])
    parser.add_argument("--if-reachable", action="store_true", help="end with 0 when packages cannot be looked up")
    parser.add_argument("--first-within", type=float, default=_FIRST, metavar="S", help="seconds for the first package")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="instead of those that hosts install")
    options = parser.parse_args()
    try:
        files = options.files or [requirements(name) for name in (*PARTS, *OPTIONS, "build")]
        report = audit(files, options.first_within)
    except Unreachable as reason:
        print(f"audit: NOT DONE, the data of known vulnerabilities cannot be reached: {reason}")
        return 0 if options.if_reachable else 3
    for finding in report.findings:
        print(f"audit: {finding}")
    if report.unknown:
        print(f"audit: NOT looked up: {', '.join(report.unknown)}")
    if not report.findings:
        print(f"audit: packages without a known vulnerability: {len(report.known)}")
    return 0 if report.status == 3 and options.if_reachable else report.status


if __name__ == "__main__":
    sys.exit(main())
