"""Alerts and dashboard: what can be seen of them without a stack. tests/system/test_metrics.py has the rest."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import programs
from tests.conftest import ROOT
from tests.docs.pages import rows

FOLDER = ROOT / "deploy/metrics"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def promtool(*arguments: str) -> str:
    programs.require("promtool")
    done = subprocess.run([programs.path("promtool"), *arguments], cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "command", ["check rules alerts.yml", "test rules alerts_test.yml", "check config prometheus.yml"]
)
def test_promtool_finds_nothing_wrong(command: str) -> None:
    assert "SUCCESS" in promtool(*command.split())


def test_promtool_finds_nothing_wrong_with_the_configuration_for_kubernetes(tmp_path: Path) -> None:
    text = (FOLDER / "prometheus-kubernetes.yml").read_text()
    # Debian's build knows nothing of Kubernetes.
    pods = "    kubernetes_sd_configs:\n      - role: pod\n        namespaces: {names: [nowait]}\n"
    assert pods in text
    (tmp_path / "prometheus.yml").write_text(text.replace(pods, '    static_configs: [{targets: ["a:9101"]}]\n'))
    (tmp_path / "alerts.yml").write_text((FOLDER / "alerts.yml").read_text())
    assert "SUCCESS" in promtool("check", "config", str(tmp_path / "prometheus.yml"))


def test_the_page_has_each_alert() -> None:
    alerts = [line.split()[-1] for line in (FOLDER / "alerts.yml").read_text().splitlines() if "- alert:" in line]
    assert [cells[0].strip("`") for cells in rows("docs/metrics.md", "Alerts")] == alerts
    tests = (FOLDER / "alerts_test.yml").read_text()
    assert all(f'"{alert}"' in tests for alert in alerts)


def test_each_alert_has_what_to_do_as_the_page_has_it() -> None:
    rules = (FOLDER / "alerts.yml").read_text()
    found = re.findall(r"- alert: (\w+)\n(?:(?!      - ).+\n)*?          action: >-\n((?: {12}.+\n)+)", rules)
    documented = {
        alert.strip("`"): re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", action).replace("`", "")
        for alert, _, action in rows("docs/metrics.md", "Alerts")
    }
    assert {alert: " ".join(action.split()) for alert, action in found} == documented


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_has_what_its_reader_needs(panel: dict[str, Any]) -> None:
    assert panel["title"] and panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"] and all(target["expr"] for target in panel["targets"])


def test_no_two_panels_are_at_one_place() -> None:
    def cells(panel: dict[str, Any]) -> Iterator[tuple[int, int]]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                yield x, y

    taken = [cell for panel in DASHBOARD["panels"] for cell in cells(panel)]
    assert len(taken) == len(set(taken))
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_dashboard_is_tied_to_no_installation() -> None:
    assert "id" not in DASHBOARD
    sources = {source["datasource"]["uid"] for panel in PANELS for source in (panel, *panel["targets"])}
    assert sources == {"${datasource}"}
