"""docs/settings.md is whole: every setting, route and problem type of the code, and no other."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from tornado.routing import PathMatches

from nowait import errors
from nowait.settings import PREFIX
from nowait.testing import FakeBridge
from server.app import make_app
from server.http import problem
from server.settings import Settings as ServerSettings
from tasks.settings import Settings as TasksSettings
from tests.conftest import ROOT
from tests.docs.pages import PAGES, rows

PAGE = "docs/settings.md"


def default_text(default: Any) -> str:
    """A default as the table has it."""
    if isinstance(default, Path):
        return default.relative_to(ROOT).as_posix()
    if isinstance(default, bool) or default is None:
        return {True: "1", False: "0", None: "none"}[default]
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_every_setting_is_there_with_its_default_and_its_program() -> None:
    expected: dict[str, tuple[str, str]] = {}
    for settings, program in ((ServerSettings, "server"), (TasksSettings, "workers")):
        for field in dataclasses.fields(settings):
            name = PREFIX + field.name.upper()
            expected[name] = (default_text(field.default), "both" if name in expected else program)
    found = {cells[0].strip("`"): (cells[1].strip("`"), cells[2]) for cells in rows(PAGE, "Settings")}
    assert found == expected


@pytest.mark.parametrize("page", PAGES)
def test_a_setting_that_a_page_names_is_one(page: str) -> None:
    fields = [*dataclasses.fields(ServerSettings), *dataclasses.fields(TasksSettings)]
    known = {PREFIX + field.name.upper() for field in fields}
    known |= {"NOWAIT_WORKER", "NOWAIT_KEY"}  # of the unit and the image, and of a client
    # Names of earlier versions.
    known |= {"NOWAIT_DEFINITIONS", "NOWAIT_DRAIN", "NOWAIT_ALIVE", "NOWAIT_SQL"} if page == "CHANGELOG.md" else set()
    assert set(re.findall(r"NOWAIT_[A-Z_]+", PAGES[page])) <= known


def test_every_route_is_there() -> None:
    app = make_app(FakeBridge({}, queues=()), ServerSettings(demo=True))
    matchers = [rule.matcher for rule in app.wildcard_router.rules]
    patterns = [m.regex.pattern.rstrip("$") for m in matchers if isinstance(m, PathMatches)]
    served = {re.sub(r"\([^)]*\)", "{}", pattern).replace("\\", "") for pattern in patterns}
    named = {re.sub(r"\{.*?\}", "{}", re.findall(r"/[^?`]*", cells[0])[0]) for cells in rows(PAGE, "Routes")}
    assert named == served


def test_every_problem_type_is_there_with_its_status_and_retry_after() -> None:
    kinds: list[type[errors.BridgeError]] = [
        each for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.BridgeError)
        and (not each.__subclasses__() or each is errors.Refused)
    ]  # fmt: skip
    expected, answers = set(), [*problem.OWN]
    for kind in kinds:
        answers.append(problem.of_bridge_error(kind() if kind is errors.ResultTooLarge else kind("FAILURE")))
    for answer in answers:
        retry_after = answer.headers.get("Retry-After", "")
        expected.add((answer.type.removeprefix("urn:problem-type:nowait:"), str(answer.status), retry_after))
    assert {answer.type for answer in answers} == set(problem.TYPES)
    assert {(cells[0].strip("`"), cells[1], cells[2]) for cells in rows(PAGE, "Problem types")} == expected


def test_every_status_of_an_error_of_the_bridge_is_there() -> None:
    statuses = {status for cells in rows(PAGE, "Status codes") for status in re.findall(r"[45]\d\d", cells[0])}
    assert {str(each.status) for each in vars(errors).values() if hasattr(each, "retry_after")} <= statuses
