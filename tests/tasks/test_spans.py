"""What a span of a statement is named by."""

import pytest

from tasks.spans import operation_of


@pytest.mark.parametrize(
    ("statement", "operation"),
    [
        ("select 1", "SELECT"),
        ("\n  UPDATE jobs SET state = 'a'", "UPDATE"),
        ("COMMIT", "COMMIT"),
        ("/* key-of-somebody */ SELECT 1", "statement"),
        ("-- key-of-somebody", "statement"),
        ("'secret'", "statement"),
        ("averylongwordthatisnooperation", "statement"),
        ("", "statement"),
    ],
)
def test_it_is_a_word_that_is_an_operation_and_nothing_that_may_be_a_value(statement: str, operation: str) -> None:
    assert operation_of(statement) == operation
