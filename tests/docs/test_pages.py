"""What is true of every page: its links lead somewhere, its verbs exist, its words are the field's."""

import re
import subprocess

import pytest

from tests.conftest import ROOT
from tests.docs.pages import PAGES, anchors, blocks, links, target

# Words of talk, and of the household, for what has a term.
UNWANTED = "told tells says said asks asked hears heard lies bury buried stamp stamps lane lanes canary whoever"


def verbs() -> list[tuple[str, str]]:
    """Each verb of make that a page names."""
    named = set()
    for page, text in PAGES.items():
        commands = re.findall(r"`(make [a-z-]+)", text) + "".join(blocks(page, "sh")).splitlines()
        named |= {(page, command.split()[1]) for command in commands if command.startswith("make ")}
    return sorted(named)


@pytest.mark.parametrize(("page", "link"), [(page, link) for page in PAGES for link in links(page)])
def test_a_link_leads_somewhere(page: str, link: str) -> None:
    if link.startswith("https://"):
        return
    found = target(page, link)
    assert found.exists() and found.is_relative_to(ROOT)
    fragment = link.partition("#")[2]
    assert not fragment or fragment in anchors(found.relative_to(ROOT).as_posix())


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, left = set(), ["README.md"]
    while left:
        page = left.pop()
        if page in PAGES and page not in reached:
            reached.add(page)
            left += [target(page, link).relative_to(ROOT).as_posix() for link in links(page) if "://" not in link]
    assert reached == set(PAGES)


@pytest.mark.parametrize(("page", "verb"), verbs())
def test_a_verb_of_make_that_a_page_names_is_there(page: str, verb: str) -> None:
    assert re.search(rf"^{verb}:.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_make_help_lists_every_verb() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    verbs = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert re.findall(r"^make ([a-z-]+)", listed, re.MULTILINE) == verbs


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_the_words_of_the_field(page: str) -> None:
    assert not re.findall(rf"\b({UNWANTED.replace(' ', '|')})\b", PAGES[page], re.IGNORECASE)


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 130
