import pytest

from server.http import prefer


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=10", 10.0),
        ("WAIT = 10", 10.0),
        ('wait="3"', 3.0),
        ("wait=0.25", 0.25),
        ("wait=0", 0.0),
        ("respond-async, wait=5", 5.0),
        ("wait=5; foo=bar, handling=lenient", 5.0),
        ("wait=1, wait=2", 1.0),
    ],
)
def test_the_wait_preference_is_read(header: str, seconds: float) -> None:
    assert prefer.wait(header) == seconds


@pytest.mark.parametrize(
    "header", ["", "wait", "wait=", "wait=-1", "wait=soon", "wait=1e3", "await=5", "respond-async", "wait=" + "9" * 400]
)
def test_what_cannot_be_understood_is_ignored(header: str) -> None:
    assert prefer.wait(header) is None


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("respond-async", True),
        ("wait=5, Respond-Async ;foo=bar", True),
        ("", False),
        ("wait=5", False),
        ("no-respond-async", False),
        ("respond-async-later", False),
    ],
)
def test_the_preference_for_an_early_answer_is_read(header: str, wanted: bool) -> None:
    assert prefer.respond_async(header) is wanted
