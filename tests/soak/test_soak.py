"""The soak for half a minute, with one fault."""

import asyncio
from pathlib import Path

import pytest

from tests.soak import soak as module
from tests.soak.plot import draw
from tests.soak.report import lines
from tests.soak.soak import soak

pytestmark = [pytest.mark.timeout(300)]


@pytest.mark.parametrize("fault", ["server killed"])
def test_nothing_is_lost_or_done_twice_for_half_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    said: list[str] = []
    monkeypatch.setattr(module, "plan", lambda seed, count: [fault] * count)
    outcome = asyncio.run(soak(tmp_path, 25.0, 12.0, 1, lambda passed, what, new: said.append(what)))
    print(*lines(outcome), sep="\n")
    assert outcome.verdict() == []
    assert [each.name for each in outcome.faults] == [fault]
    assert {"starting", fault, f"load, after: {fault}"} <= set(said)
    assert {life.name for life in outcome.lives} == {"server 1", "server 2", "worker 1", "worker 2", "scheduler"}
    draw(outcome, tmp_path / "soak.svg")
    assert fault in (tmp_path / "soak.svg").read_text()
