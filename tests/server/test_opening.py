"""Connections of which only the beginning has come: they leave all others on the loop their turns."""

import asyncio
from functools import partial

import pytest

from server.http.opening import Looks


@pytest.mark.gen_test
async def test_looks_that_are_due_at_once_are_taken_in_turn_with_all_else() -> None:
    looks = Looks()
    taken: list[int] = []
    for number in range(100):
        looks.later(0.0, partial(taken.append, number))
    seen = [0]
    while seen[-1] < 100:
        await asyncio.sleep(0)
        seen.append(len(taken))
    assert taken == [*range(100)]
    assert max(after - before for before, after in zip(seen, seen[1:])) <= 16
