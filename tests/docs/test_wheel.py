"""What is installed as `nowait`: the library alone, with its licence."""

import email
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="session")
def files(wheel: Path) -> dict[str, bytes]:
    """The content of each file of the wheel, by its path."""
    with ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="session")
def metadata(files: dict[str, bytes]) -> Message:
    """Its METADATA."""
    (content,) = [content for name, content in files.items() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(content)


def test_the_wheel_holds_the_library_and_nothing_else(files: dict[str, bytes]) -> None:
    library = {path.relative_to(ROOT).as_posix() for path in (ROOT / "nowait").rglob("*.py")} | {"nowait/py.typed"}
    assert {name for name in files if ".dist-info/" not in name} == library


def test_the_wheel_names_its_licence_and_its_authors(files: dict[str, bytes], metadata: Message) -> None:
    assert (metadata["License"], metadata["Author"]) == ("Apache-2.0", "the Nowait authors")
    assert metadata["License-File"] == "LICENSE"
    (licence,) = [content for name, content in files.items() if name.rpartition("/")[2] == "LICENSE"]
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert b"Apache License" in licence and b"Version 2.0, January 2004" in licence


def test_the_wheel_describes_itself_without_a_page_of_its_own(metadata: Message) -> None:
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["Summary"] and "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert not metadata["Home-page"] and not metadata["Project-URL"]


def test_the_library_alone_needs_celery_and_nothing_of_the_applications(metadata: Message) -> None:
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {line.partition(">")[0].strip() for line in needed} == {"celery", "kombu", "amqp"}
