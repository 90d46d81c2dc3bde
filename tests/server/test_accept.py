import pytest

from server.http.accept import preferred

OFFERED = ("application/json", "application/x-ndjson", "text/csv")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/csv", "text/csv"),
        ("TEXT/CSV", "text/csv"),
        ("text/*", "text/csv"),
        ("application/*", "application/json"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("text/csv, application/x-ndjson", "application/x-ndjson"),
        ("text/csv;q=0.9, application/x-ndjson;q=0.8", "text/csv"),
        ("text/csv ; q = 0.8 , application/json;q=0.9", "application/json"),
        ("text/csv, */*;q=0.1", "text/csv"),
        ("text/csv, */*", "text/csv"),
        ("application/json, text/plain, */*", "application/json"),
        ("text/csv;q=0", "application/json"),
        ("*/*, application/json;q=0", "application/x-ndjson"),
        ("*/*;q=0.5, text/*;q=0.4", "application/json"),
        ("text/csv;header=present", "text/csv"),
        ('text/csv;note="a, b;q=0";q=0.7, application/json;q=0.6', "text/csv"),
        ("image/png", "application/json"),
        ("nonsense, text/csv", "text/csv"),
        ("text/csv;q=nonsense", "text/csv"),
        ("text/csv;q=1.5", "text/csv"),
        (",,;q=,/;", "application/json"),
    ],
)
def test_the_type_that_is_rather_had(header: str, expected: str) -> None:
    assert preferred(header, OFFERED) == expected


def test_a_long_header_takes_no_time() -> None:
    assert preferred("text/csv;" + '"a;' * 20_000, OFFERED) in OFFERED
    assert preferred('a/b;"' * 12_000, OFFERED) == "application/json"
    assert preferred("a/b;q=0.1," * 6_000, OFFERED) == "application/json"
    assert preferred("a" * 60_000, OFFERED) == preferred(f"x{' ' * 60_000}x", OFFERED) == "application/json"
