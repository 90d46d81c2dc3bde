"""docs/neighbours.md shows what is in the project that tests/neighbours runs, and follows its other examples."""

import pytest

from tests.conftest import ROOT
from tests.docs.pages import blocks, fragments

PAGE = "docs/neighbours.md"
PROJECT = ROOT / "tests/neighbours/project/web"


@pytest.mark.parametrize("shown", [*fragments(PAGE), *blocks(PAGE, "js")])
def test_what_is_shown_of_the_project_is_in_it(shown: str) -> None:
    assert any(shown.strip() in path.read_text() for path in PROJECT.rglob("*.*") if path.suffix in (".py", ".html"))
