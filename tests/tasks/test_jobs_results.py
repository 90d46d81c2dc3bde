"""Results as JSON."""

import datetime
from decimal import Decimal
from typing import Any

import pytest

from nowait.errors import ResultTooLarge
from nowait.messages.encoded import Encoded
from tasks.jobs.results import encode


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        ({"a": [1, 2.5, "ü"]}, '{"a":[1,2.5,"ü"]}'),
        ([Decimal("1.10"), datetime.date(2026, 1, 2), b"\x00"], '["1.10","2026-01-02","AA=="]'),
        (Encoded(b"[1,", b"2]"), "[1,2]"),
        ("\ud800", '"\\ud800"'),
    ],
)
def test_a_result_has_the_forms_of_rows(value: Any, text: str) -> None:
    assert encode(value) == text


@pytest.mark.parametrize("value", [float("nan"), object(), {(1, 2): 3}, {1, 2}])
def test_what_has_no_form_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode(value)


@pytest.mark.parametrize("value", ["ü" * 5, ["a"] * 3, Encoded(b'"123456789"')])
def test_a_result_that_is_too_large_is_refused(value: Any) -> None:
    with pytest.raises(ResultTooLarge):
        encode(value, limit=10)
