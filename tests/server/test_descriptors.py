"""How many connections the limit of open files leaves."""

import resource

import pytest

from server import descriptors


@pytest.mark.parametrize(
    ("hard", "most", "allowed"),
    [(256, 10_000, 192), (65_536, 9_000, 9_000), (resource.RLIM_INFINITY, 9_000, 9_000), (256, 192, 192), (32, 5, 1)],
)
def test_there_are_as_many_as_wanted_unless_files_are_fewer(
    hard: int, most: int, allowed: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (20, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    assert descriptors.connections(most) == allowed
    assert raised == [(hard, hard)]
    assert bool(caplog.records) == (allowed < most)
