"""The pages that readers get, and what is in them."""

import re
from pathlib import Path

from tests.conftest import ROOT

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
}


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)


def files(page: str) -> dict[str, str]:
    """The Python blocks that begin with the name of a file, `# NAME.py`, by that name."""
    named = [re.match(r"# (\S+\.py)\n", block) for block in blocks(page, "python")]
    return {match.group(1): match.string for match in named if match}


def fragments(page: str) -> list[str]:
    """The other Python blocks."""
    return [block for block in blocks(page, "python") if block not in files(page).values()]


def requests(page: str) -> list[tuple[str, str]]:
    """Each command of the console blocks with what it prints."""
    parts = [part for block in blocks(page, "console") for part in block.split("$ ")[1:]]
    return [(part.partition("\n")[0], part.partition("\n")[2].strip()) for part in parts]


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = PAGES[page].partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def anchors(page: str) -> set[str]:
    """What `#…` may lead to."""
    headings = re.findall(r"^#+ (.*)$", PAGES[page], re.MULTILINE)
    return {re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: str) -> list[str]:
    """The targets of its links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", PAGES[page])


def target(page: str, link: str) -> Path:
    """The file that a link within the project leads to."""
    return ((ROOT / page).parent / (link.partition("#")[0] or Path(page).name)).resolve()
