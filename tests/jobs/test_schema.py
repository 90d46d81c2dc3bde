"""What is said of a database whose schema is not the one that the code needs."""

import pytest

from nowait.jobs.schema import MIGRATE, REVISION, refusal, shortcoming


def test_the_schema_that_is_needed_is_good_and_so_is_a_newer_one() -> None:
    assert shortcoming(REVISION) is None
    assert shortcoming(f"{int(REVISION) + 1:04}") is None


def test_one_that_is_missing_or_too_old_has_one_line_with_what_to_run() -> None:
    for line in (shortcoming(None), shortcoming("0000")):
        assert line is not None and "\n" not in line and MIGRATE in line
    assert "missing" in (shortcoming(None) or "") and f"{REVISION} is needed" in (shortcoming("0000") or "")


@pytest.mark.parametrize(("error", "expected"), [(1146, "is missing"), (1142, "may not read"), (1044, "may not read")])
def test_an_error_of_the_database_that_is_because_of_the_schema_has_one_too(error: int, expected: str) -> None:
    line = refusal(error)
    assert line is not None and expected in line and MIGRATE in line


def test_any_other_error_is_none_of_the_schema() -> None:
    assert refusal(2003) is None
    assert refusal(None) is None
