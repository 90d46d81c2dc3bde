"""What is installed is pinned, with hashes, in versions that setup.cfg and the like allow."""

import re
from configparser import ConfigParser
from pathlib import Path

import pytest
import tomli
from packaging.requirements import Requirement

from tests.conftest import ROOT

PINNED = ROOT / "deploy/requirements"
LOCKS = sorted([*PINNED.glob("*.txt"), *ROOT.glob("deploy/supply/*.txt"), *ROOT.glob("tests/**/requirements.txt")])
INPUTS = sorted(lock.with_suffix(".in") for lock in LOCKS if lock.with_suffix(".in").exists())


def pins(lock: Path) -> list[tuple[Requirement, list[str]]]:
    """The requirements of a lock, each with its options."""
    lines = re.sub(r"\\\n", "", re.sub(r"^ *#.*\n", "", lock.read_text(), flags=re.MULTILINE)).splitlines()
    return [(Requirement(name), options) for name, *options in (re.split(r" +(?=--)", line) for line in lines)]


def name(requirement: Requirement) -> str:
    return re.sub(r"[-_.]+", "-", requirement.name).lower()


def here(requirement: Requirement) -> bool:
    """Is it for this platform?"""
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def unsatisfied(wanted: list[str], lock: Path) -> list[str]:
    """What is wanted on this platform, and not pinned to a version that is allowed."""
    versions = {
        name(pinned): str(pinned.specifier).removeprefix("==") for pinned, _ in pins(lock) if here(pinned)
    }
    return [
        line
        for line, requirement in ((line, Requirement(line)) for line in wanted)
        if here(requirement) and not requirement.specifier.contains(versions.get(name(requirement), "0"), True)
    ]


def extras(*names: str) -> list[str]:
    """What setup.cfg wants for the library with these extras."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    texts = [setup["options"]["install_requires"], *(setup["options.extras_require"][name] for name in names)]
    return [line for text in texts for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(ROOT)))
def test_every_requirement_is_pinned_with_hashes(lock: Path) -> None:
    assert pins(lock)
    for requirement, options in pins(lock):
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
        assert options and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64} *", option) for option in options), requirement


@pytest.mark.parametrize(
    ("lock", "names"),
    [
        ("server", ["server"]),
        ("worker", ["worker"]),
        ("migrate", ["migrate"]),
        ("run", ["server", "worker", "migrate", "demo"]),
        ("otel", ["otel"]),
        ("test", ["server", "worker", "otel", "migrate", "demo", "test", "bench"]),
    ],
)
def test_what_setup_cfg_wants_is_pinned(lock: str, names: list[str]) -> None:
    assert unsatisfied(extras(*names), PINNED / f"{lock}.txt") == []


@pytest.mark.parametrize("part", ["server", "worker"])
def test_the_packages_of_traces_can_be_installed_beside_those_of_a_part(part: str) -> None:
    pinned = {(name(each), str(each.marker)): each.specifier for each, _ in pins(PINNED / f"{part}.txt")}
    for each, _ in pins(PINNED / "otel.txt"):
        assert pinned.get((name(each), str(each.marker)), each.specifier) == each.specifier


def test_what_builds_the_library_is_pinned() -> None:
    wanted = tomli.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    for lock in (PINNED / "build.txt", PINNED / "test.txt", ROOT / "deploy/supply/requirements.txt"):
        assert unsatisfied(wanted, lock) == []


@pytest.mark.parametrize("file", INPUTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_an_environment_of_its_own_wants_is_pinned(file: Path) -> None:
    wanted = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    assert unsatisfied(wanted, file.with_suffix(".txt")) == []
