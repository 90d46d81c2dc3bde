"""docs/deploying.md, what tests/faults/test_hosts.py does not see when it runs its commands."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.pages import PAGES, blocks

PAGE = "docs/deploying.md"
SECRETS = [block for block in blocks(PAGE, "sh") if "change-me" in block and "<<END" in block]


@pytest.mark.parametrize("script", SECRETS, ids=["server", "worker"])
def test_a_file_with_a_password_is_at_no_time_readable_by_others(script: str, tmp_path: Path) -> None:
    (part,) = re.findall(r"^.*<<END\n(?:.*\n)*?END\n", script, re.MULTILINE)
    part = f"umask 022\n{part.replace('/etc/nowait', str(tmp_path))}"
    assert "chmod" not in script
    subprocess.run(["sh", "-eu", "-c", part], check=True, timeout=10)
    (file,) = tmp_path.iterdir()
    assert "change-me" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_no_password_is_an_argument() -> None:
    scripts = [re.sub(r"<<END\n.*?\nEND\n", "\n", block, flags=re.DOTALL) for block in blocks(PAGE, "sh")]
    for command in "".join(scripts).splitlines():
        # Assignments in front of a command are its environment.
        assert "change-me" not in re.sub(r"^([A-Z_]+=\S+ )+", "", command)


def test_the_names_that_the_page_gives_for_files_are_right() -> None:
    named = re.findall(r"\bdeploy/[A-Za-z0-9_./@-]*\w", PAGES[PAGE])
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []
