"""The headers If-Match and If-None-Match."""

import pytest

from server.http.preconditions import Preconditions


@pytest.mark.parametrize(
    ("match", "none_match", "one", "nothing"),
    [
        ([], [], True, True),
        (["*"], [], True, False),
        ([], ["*"], False, True),
        (['"1"'], [], True, False),
        (['W/"1"'], [], True, False),
        (['"2", "1"'], [], True, False),
        (['"2"', '"1"'], [], True, False),
        (['"2"'], [], False, False),
        ([], ['"1"'], False, True),
        ([], ['"2"'], True, True),
        (['"1"'], ['"1"'], False, False),
    ],
)
def test_they_hold_for_a_resource_with_a_tag_and_for_none(
    match: list[str], none_match: list[str], one: bool, nothing: bool
) -> None:
    expected = Preconditions.of_headers(match, none_match)
    assert (expected.hold('"1"'), expected.hold(None)) == (one, nothing)


@pytest.mark.parametrize("value", ["", "1", '"1', '*, "1"', '"1",', 'w/"1"', '"a b"', '"1" "2"'])
def test_anything_else_is_refused_with_what_is_expected(value: str) -> None:
    with pytest.raises(ValueError, match=r"^If-Match: \* or what ETag was is expected.$"):
        Preconditions.of_headers([value], [])
