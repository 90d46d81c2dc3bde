"""Batches, with work that takes as long as a test wants."""

import asyncio
from collections.abc import Sequence

import pytest

from server.jobs.batches import Batches
from server.jobs.model import StoreUnavailable

pytestmark = pytest.mark.gen_test


class Work:
    """What is done for each batch: the double of each item, once `go` is set."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, items: Sequence[int], timeout: float) -> list[int | Exception]:
        self.batches.append(list(items))
        try:
            await asyncio.wait_for(self.go.wait(), timeout)
        except asyncio.TimeoutError:
            raise StoreUnavailable("too late") from None
        if self.error is not None:
            raise self.error
        return [2 * item if item >= 0 else ValueError(str(item)) for item in items]


async def test_what_comes_meanwhile_is_done_together() -> None:
    work = Work()
    batches: Batches[int, int] = Batches(work, 10)
    first = asyncio.ensure_future(batches.add(1, 1, 30))
    await asyncio.sleep(0)
    others = [asyncio.ensure_future(batches.add(number, 1, 30)) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    work.go.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6, 8]
    assert work.batches == [[1], [2, 3, 4]]
    assert await batches.add(5, 1, 30) == 10


async def test_a_batch_is_bounded_in_number_and_size() -> None:
    work = Work()
    work.go.set()
    batches: Batches[int, int] = Batches(work, 10)
    assert await asyncio.gather(*(batches.add(number, 5, 30) for number in range(5))) == [0, 2, 4, 6, 8]
    assert work.batches == [[0, 1], [2, 3], [4]]
    work.batches.clear()
    await asyncio.gather(batches.add(1, 50, 30), batches.add(2, 1, 30))
    assert work.batches == [[1], [2]]
    work.batches.clear()
    await asyncio.gather(*(batches.add(number, 0, 30) for number in range(150)))
    assert [len(batch) for batch in work.batches] == [100, 50]


async def test_an_error_is_everybodys_or_that_of_one_alone() -> None:
    work = Work()
    work.go.set()
    batches: Batches[int, int] = Batches(work, 10)
    results = await asyncio.gather(*(batches.add(item, 1, 30) for item in (1, -2, 3)), return_exceptions=True)
    assert results[0] == 2 and isinstance(results[1], ValueError) and results[2] == 6
    work.error = LookupError("no more")
    results = await asyncio.gather(*(batches.add(item, 1, 30) for item in (1, 2)), return_exceptions=True)
    assert [type(result) for result in results] == [LookupError, LookupError] and results[0] is not results[1]
    work.error = None
    assert await batches.add(1, 1, 30) == 2


async def test_nobody_waits_longer_than_asked_for_and_who_has_left_is_left_out() -> None:
    work = Work()
    batches: Batches[int, int] = Batches(work, 10)
    first = asyncio.ensure_future(batches.add(1, 1, 0.2))
    await asyncio.sleep(0)
    left, late, patient = (
        asyncio.ensure_future(batches.add(item, 1, timeout)) for item, timeout in ((2, 30), (3, 0.01), (4, 30))
    )
    await asyncio.sleep(0)
    left.cancel()
    with pytest.raises(StoreUnavailable):
        await late
    with pytest.raises(StoreUnavailable):
        await first
    work.go.set()
    assert await patient == 8
    assert work.batches == [[1], [4]]


async def test_who_has_hardly_any_time_left_takes_none_from_others() -> None:
    work = Work()
    batches: Batches[int, int] = Batches(work, 10)
    first = asyncio.ensure_future(batches.add(1, 1, 30))
    await asyncio.sleep(0)
    late, patient = (asyncio.ensure_future(batches.add(item, 1, timeout)) for item, timeout in ((2, 2.0), (3, 30)))
    await asyncio.sleep(1.9)
    work.go.set()
    assert await first == 2 and await patient == 6
    assert work.batches == [[1], [3]]
    with pytest.raises(StoreUnavailable):
        await late
