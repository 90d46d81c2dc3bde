"""Texts that have a format, and texts that Python's parsers alone would take."""

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowait.formats import FORMATS, has_format, parse_date_time

GOOD = {
    "date": ["2024-02-29", "0001-01-01", "9999-12-31"],
    "date-time": [
        "2024-02-29T23:59:59Z", "2024-02-29t23:59:59z", "2024-02-29T23:59:59.1Z", "2024-02-29T23:59:59.123456+00:00",
        "2024-02-29T23:59:59-23:59",
    ],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000", "123E4567-E89B-12D3-A456-426614174000"],
}  # fmt: skip
BAD = {
    "date": [
        "", "nonsense", "2023-02-29", "2024-2-29", "20240229", "2024-02-29T00:00:00", "0000-00-00", "2024-W09-4",
        "٢٠٢٤-02-29", "2024-02-29 ", "2024-02-29\n",
    ],
    "date-time": [
        "", "2024-02-29", "2024-02-29T23:59:59", "2024-02-29 23:59:59Z", "2024-02-29T24:00:00Z", "2024-02-30T00:00:00Z",
        "2024-02-29T23:59:60Z", "2024-02-29T23:59:59.Z", "2024-02-29T23:59:59.1234567Z", "2024-02-29T23:59Z",
        "2024-02-29T23:59:59+24:00", "2024-02-29T23:59:59+0100", "2024-02-29T23:59:59Z\n", "2024-02-29T23:59:5٩Z",
        "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01",
    ],
    "uuid": [
        "", "123e4567e89b12d3a456426614174000", "{123e4567-e89b-12d3-a456-426614174000}",
        "urn:uuid:123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-42661417400g",
        "123e4567-e89b-12d3-a456-42661417400_", "123e4567-e89b-12d3-a456-426614174000}",
        "123e4567-e89b-12d3-a456-42661417400٣",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in GOOD.items() for text in texts])
def test_a_text_has_its_format(name: str, text: str) -> None:
    assert has_format(name, text)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_any_other_text_has_not(name: str, text: str) -> None:
    assert not has_format(name, text)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2024-03-01T00:30:00.5+01:00", datetime(2024, 2, 29, 23, 30, 0, 500_000)),
        ("2024-02-29T23:30:00-00:45", datetime(2024, 3, 1, 0, 15)),
        ("2024-02-29T23:30:00Z", datetime(2024, 2, 29, 23, 30)),
    ],
)
def test_a_time_is_one_of_utc(text: str, utc: datetime) -> None:
    assert parse_date_time(text) == utc.replace(tzinfo=timezone.utc)


@given(st.datetimes(timezones=st.timezones(), min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31)))
def test_a_time_of_any_zone_is_read_exactly(moment: datetime) -> None:
    text = moment.isoformat()
    if has_format("date-time", text):  # offsets of long ago have seconds
        assert parse_date_time(text) == datetime.fromisoformat(text)


@given(st.text())
def test_any_text_has_a_format_or_has_not(text: str) -> None:
    assert {has_format(name, text) for name in FORMATS} <= {True, False}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_one_of_texts_alone(name: str) -> None:
    assert has_format(name, 5) and has_format(name, None)
