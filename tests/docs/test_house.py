"""docs/house.md names the modules that there are."""

import re

import pytest

from tests.conftest import ROOT
from tests.docs.pages import PAGES

PAGE = PAGES["docs/house.md"]
TABLES = dict(re.findall(r"^\| (?:module|file) of `([\w/]+)/` \| .*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE))


@pytest.mark.parametrize("folder", TABLES)
def test_the_table_of_a_folder_has_its_modules_and_no_other(folder: str) -> None:
    named = [name for row in TABLES[folder].splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
    suffix = named[0].rpartition(".")[2]
    there = {path.name for path in (ROOT / folder).glob(f"*.{suffix}")} - {"__init__.py"}
    assert sorted(named) == sorted(there)


def test_a_file_or_folder_that_the_page_names_in_full_is_there() -> None:
    named = set(re.findall(r"`((?:nowait|server|tasks|tests|deploy)/[\w./-]*)`", PAGE))
    assert len(TABLES) > 10 and len(named) > 30
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
