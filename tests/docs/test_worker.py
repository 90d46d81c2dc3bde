"""The tables of docs/worker.md are those of the code; tests/docs/project follows the page."""

import re

from nowait.messages.limits import MAX_REPLY, MAX_SHORT_STRING, MAX_TASK_BODY, MAX_TASK_HEADERS
from nowait.topology import Topology
from nowait.worker.replies import MAX_ERROR_TEXT
from tests.conftest import ROOT
from tests.docs.pages import rows

PAGE = "docs/worker.md"
SOURCE = "".join(
    path.read_text() for path in (ROOT / "nowait").rglob("*.py") if not {"jobs", "metrics"} & {*path.parts}
)
UNITS = {"bytes": 1, "KiB": 1024, "MiB": 1024 * 1024, "characters": 1}


def test_every_setting_of_an_application_is_there_and_no_other() -> None:
    assert {cells[0].strip("`") for cells in rows(PAGE, "Settings")} == set(re.findall(r'"(nowait_[a-z_]+)"', SOURCE))


def test_the_limits_are_those_of_the_library() -> None:
    limits = [cells[1].replace(",", "").split() for cells in rows(PAGE, "Limits")]
    dead_letters = Topology.declared().dead_letter_arguments["x-max-length-bytes"]
    expected = [MAX_TASK_BODY, MAX_TASK_HEADERS, MAX_SHORT_STRING, dead_letters, MAX_REPLY, MAX_ERROR_TEXT]
    assert [int(number) * UNITS[unit] for number, unit in limits] == expected


def test_the_log_lines_are_those_of_the_library() -> None:
    texts = re.sub(r"%(\.\df|s|d)", "…", SOURCE)
    lines = [cells[0].strip("`") for cells in rows(PAGE, "Log lines")]
    assert lines and [line for line in lines if f'"{line}"' not in texts] == []
