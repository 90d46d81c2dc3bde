"""docs/deploying.md, what tests/faults/test_hosts.py does not see when it runs its commands."""

import re

from tests.conftest import ROOT
from tests.docs.pages import PAGES, blocks

PAGE = "docs/deploying.md"


def test_no_password_is_an_argument() -> None:
    scripts = [re.sub(r"<<END\n.*?\nEND\n", "\n", block, flags=re.DOTALL) for block in blocks(PAGE, "sh")]
    for command in "".join(scripts).splitlines():
        # Assignments in front of a command are its environment.
        assert "change-me" not in re.sub(r"^([A-Z_]+=\S+ )+", "", command)


def test_the_names_that_the_page_gives_for_files_are_right() -> None:
    named = re.findall(r"\bdeploy/[A-Za-z0-9_./@-]*\w", PAGES[PAGE])
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_prometheus_looks_where_the_page_puts_metrics() -> None:
    (script,) = [block for block in blocks(PAGE, "sh") if "NOWAIT_METRICS" in block]
    found, host = set(), ""
    for line in script.splitlines():
        host = line.partition("# on ")[2] or host
        found |= {f"{host}:{port}" for port in re.findall(r"NOWAIT_METRICS=.*:(\d+)", line)}
    targets = re.findall(r'"(\S+:\d+)"', (ROOT / "deploy/metrics/prometheus.yml").read_text())
    assert set(targets) == found and len(targets) == 5
