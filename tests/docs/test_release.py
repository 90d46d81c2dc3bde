"""docs/release.md: its commands make a release of a tag, and the version is as its table has it."""

import json
import os
import re
import shutil
import subprocess
import tarfile
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests import programs
from tests.conftest import ROOT
from tests.deploy.test_locks import pins
from tests.docs.conftest import copy_tree
from tests.docs.pages import PAGES, blocks, rows

PAGE = "docs/release.md"
(COMMANDS,) = blocks(PAGE, "sh")
PYTHON = ROOT / ".venv/supply/bin/python"  # `make test` makes it
GIT = {
    **{f"GIT_{who}_NAME": "tests" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "tests@localhost" for who in ("AUTHOR", "COMMITTER")},
    "GIT_CONFIG_GLOBAL": "/dev/null",
}
PARTS = ("server", "worker", "migrate", "otel")
_VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
validator = JsonStrictValidator(SchemaVersion.V1_6)
print(*(validator.validate_str(open(name).read()) for name in sys.argv[1:]))
"""


def run(folder: Path, *command: str | Path, given: str | None = None) -> str:
    """What a command prints in a folder."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "GIT_"))} | GIT
    done = subprocess.run(
        command, cwd=folder, env=variables, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.strip()


def version(folder: Path) -> str:
    """The version of what would be built in a folder."""
    return run(folder, PYTHON, "-W", "ignore", "-m", "setuptools_scm")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This tree as a repository with one commit, no tag, and somewhere to push to."""
    programs.require("git")
    folder = tmp_path_factory.mktemp("release")
    tree = copy_tree(folder / "tree")
    for name in (".gitattributes", ".git_archival.txt", ".gitignore"):
        shutil.copy2(ROOT / name, tree)
    changes = tree / "CHANGELOG.md"
    changes.write_text(changes.read_text().replace("## Unreleased", "## Unreleased\n\n## 1.2.3", 1))
    run(folder, "git", "init", "--quiet", "--bare", "origin")
    run(tree, "git", "init", "--quiet", "--initial-branch", "main")
    run(tree, "git", "add", "--all")
    run(tree, "git", "commit", "--quiet", "--message", "first")
    run(tree, "git", "remote", "add", "origin", folder / "origin")
    return tree


@pytest.fixture(scope="module")
def untagged(repository: Path) -> str:
    """The version of the commit before it has a tag."""
    return version(repository)


@pytest.fixture(scope="module")
def released(repository: Path, untagged: str) -> Path:
    """The folder of the release that the commands of the page make."""
    (repository / ".venv").symlink_to(ROOT / ".venv")
    run(repository, "sh", "-e", given=COMMANDS)
    return repository / "dist"


def test_the_version_is_that_of_the_tag(repository: Path, untagged: str, released: Path, tmp_path: Path) -> None:
    assert len(rows(PAGE, "The version")) == 5
    tagged = version(repository)
    run(repository, "git", "commit", "--quiet", "--allow-empty", "--message", "second")
    after = version(repository)
    run(repository, "git", "reset", "--quiet", "--hard", "v1.2.3")
    assert tagged == "1.2.3"
    assert re.fullmatch(r"1\.2\.4\.dev1\+g[0-9a-f]+", after)
    assert re.fullmatch(r"0\.1\.dev1\+g[0-9a-f]+", untagged)
    archive, copy = tmp_path / "archive", tmp_path / "copy"
    archive.mkdir()
    copy.mkdir()
    run(repository, "sh", "-c", f"git archive v1.2.3 | tar -x -C '{archive}'")
    for name in ("pyproject.toml", ".git_archival.txt"):
        shutil.copy(repository / name, copy)
    assert (version(archive), version(copy)) == ("1.2.3", "0.0")


def test_the_files_are_those_of_the_page(released: Path) -> None:
    named = re.findall(r"`([^`/]+)`", " ".join(row[0] for row in rows(PAGE, "Checklist")))
    assert {path.name for path in released.iterdir()} == set(named)
    sums = dict(reversed(line.split()) for line in (released / "SHA256SUMS").read_text().splitlines())
    files = [path for path in released.iterdir() if path.name != "SHA256SUMS"]
    assert sums == {path.name: sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_tag_is_pushed(repository: Path, released: Path) -> None:
    assert "refs/tags/v1.2.3" in run(repository, "git", "ls-remote", "origin")


def test_wheel_and_source_have_the_version_and_what_belongs_in_them(released: Path, tmp_path: Path) -> None:
    with ZipFile(released / "nowait-1.2.3-py3-none-any.whl") as wheel:
        assert "\nVersion: 1.2.3\n" in wheel.read("nowait-1.2.3.dist-info/METADATA").decode()
        assert {name.partition("/")[0] for name in wheel.namelist()} == {"nowait", "nowait-1.2.3.dist-info"}
    with tarfile.open(released / "nowait-1.2.3.tar.gz") as source:
        source.extractall(tmp_path)
    tree = tmp_path / "nowait-1.2.3"
    assert version(tree) == "1.2.3"
    for name in ("deploy/install.sh", "server/__main__.py", "tasks/app.py", "deploy/requirements/server.txt"):
        assert (tree / name).read_bytes() == (ROOT / name).read_bytes()


@pytest.mark.parametrize("part", PARTS)
def test_a_list_has_what_is_pinned_with_its_hashes(released: Path, part: str) -> None:
    listed = json.loads((released / f"nowait-{part}-1.2.3.cdx.json").read_text())
    component = listed["metadata"]["component"]
    assert (component["name"], component["version"]) == (f"nowait-{part}", "1.2.3")
    found = {
        (package["purl"], digest["content"])
        for package in listed["components"]
        for reference in package["externalReferences"]
        for digest in reference["hashes"]
    }
    assert found == {
        (f"pkg:pypi/{pinned.name.lower()}@{str(pinned.specifier).removeprefix('==')}", option.strip()[-64:])
        for pinned, options in pins(ROOT / f"deploy/requirements/{part}.txt")
        for option in options
    }
    # Of what is released, and not of this run.
    committed = run(released.parent, "git", "log", "-1", "--format=%ct", "v1.2.3")
    assert datetime.fromisoformat(listed["metadata"]["timestamp"]).timestamp() == float(committed)
    assert "serialNumber" not in listed


def test_the_lists_are_cyclonedx(released: Path) -> None:
    assert "CycloneDX 1.6" in PAGES[PAGE]
    lists = [f"nowait-{part}-1.2.3.cdx.json" for part in PARTS]
    assert run(released, PYTHON, "-c", _VALIDATE, *lists) == " ".join(["None"] * len(lists))


def test_what_is_not_committed_or_not_described_is_not_released(repository: Path, released: Path) -> None:
    command = [PYTHON, "-m", "deploy.supply.release", "elsewhere"]
    changes = repository / "CHANGELOG.md"
    kept = changes.read_text()
    try:
        changes.write_text(kept.replace("## 1.2.3", "## 1.2.2"))
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
        assert done.returncode == 1 and done.stderr.startswith("not committed:\n")
        run(repository, "git", "commit", "--quiet", "--all", "--message", "second")
        run(repository, "git", "tag", "v1.2.4")
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (1, "CHANGELOG.md has no section 1.2.4\n")
        # Of that version alone, and of one before it as well.
        for tag in ("1.2.4rc1", "1.2"):
            run(repository, "git", "tag", "--delete", *run(repository, "git", "tag", "--points-at").split())
            run(repository, "git", "tag", f"v{tag}")
            done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
            assert (done.returncode, done.stderr) == (1, f"CHANGELOG.md has no section {tag}\n")
    finally:
        run(repository, "git", "tag", "--delete", *run(repository, "git", "tag", "--points-at").split())
        run(repository, "git", "reset", "--quiet", "--hard", "v1.2.3")
