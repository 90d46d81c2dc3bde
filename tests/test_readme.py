"""The README is true: its commands run, its tables are whole."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.process import Process
from deploy.local.services import Services
from server.settings import PREFIX, Settings
from tasks.catalogue import load
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def requests() -> list[tuple[str, str]]:
    """Each command of the console blocks with what it prints."""
    (block,) = blocks("console")
    return [(part.partition("\n")[0], part.partition("\n")[2].strip()) for part in block.split("$ ")[1:]]


@pytest.mark.parametrize(("command", "expected"), requests())
def test_a_request_of_the_readme_is_answered_as_it_says(server_url: str, command: str, expected: str) -> None:
    command = command.replace("http://localhost:8000", server_url).replace("curl", "curl -s", 1)
    printed = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60).stdout
    start, cut, _ = expected.partition("…")
    assert printed.startswith(start) if cut else printed == start


def test_the_example_of_the_bridge_runs(services: Services, worker: Process, tmp_path: Path) -> None:
    example = tmp_path / "example.py"
    example.write_text(blocks("python")[0])
    environment = {"PYTHONPATH": str(ROOT), **services.environment()}
    done = subprocess.run([sys.executable, str(example)], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["10 rows", "20 rows called back", "TaskFailed 500"], done.stderr


def test_the_query_of_the_readme_can_be_served(tmp_path: Path) -> None:
    (tmp_path / "flags.sql").write_text(blocks("sql")[0])
    (tmp_path / "flags.toml").write_text(blocks("toml")[0])
    query = load(tmp_path)["flags"]
    assert (query.queue, query.row_limit, query.bind({"flag": 1})) == ("queries.fast", 1, {"flag": 1})


def test_every_verb_of_make_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    verbs = set(re.findall(r"`make ([a-z]+)`", README)) | set(re.findall(r"^make ([a-z]+)", "".join(blocks("sh"))))
    assert {"run", "help"} <= verbs
    for verb in verbs:
        assert re.search(rf"^{verb}:", makefile, re.MULTILINE), verb
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^make ([a-z]+)", listed, re.MULTILINE)) == set(
        re.findall(r"^([a-z]+):.*##", makefile, re.MULTILINE)
    )


def test_every_setting_is_in_the_table_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(NOWAIT_[A-Z_]+)` \| `([^`]*)`", README, re.MULTILINE))
    expected = {}
    for field in dataclasses.fields(Settings):
        default = int(field.default) if isinstance(field.default, bool) else field.default
        expected[PREFIX + field.name.upper()] = f"{default:g}" if isinstance(default, float) else str(default)
    assert rows == expected
