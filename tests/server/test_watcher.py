"""Those who wait for news of jobs: what is looked at, when, and who is woken."""

import asyncio
from collections.abc import Collection

import pytest

from server.jobs.model import StoreUnavailable
from server.jobs.watcher import TooManyWatches, Watcher
from tests.bridge.conftest import until
from tests.server.fake_jobs import FakeStore

NEVER = 3600.0


class Versions(FakeStore):
    """The versions of some jobs, and what was looked at."""

    def __init__(self, **versions: int) -> None:
        super().__init__()
        self.versions_now = versions
        self.looks: list[set[str]] = []
        self.failure: Exception | None = None

    async def versions(self, job_ids: Collection[str], timeout: float) -> dict[str, int]:
        self.looks.append(set(job_ids))
        if self.failure is not None:
            raise self.failure
        return {job_id: version for job_id, version in self.versions_now.items() if job_id in job_ids}


@pytest.mark.gen_test
async def test_all_watched_jobs_are_looked_at_in_one_call_and_those_that_changed_wake_their_watches() -> None:
    store = Versions(a=1, b=1, c=1)
    watcher = Watcher(store, 10, interval=0.01)
    with watcher.watch("a") as one, watcher.watch("a") as two, watcher.watch("b") as other:
        assert (len(watcher), repr(watcher)) == (3, "<Watcher 3 watches of 2 jobs>")
        waiting = [asyncio.ensure_future(watch.changed(1, NEVER)) for watch in (one, two, other)]
        await until(lambda: len(store.looks) >= 3)
        assert store.looks == [{"a", "b"}] * len(store.looks)
        assert not any(each.done() for each in waiting)
        store.versions_now["a"] = 2
        assert await asyncio.gather(*waiting[:2]) == [True, True]
        assert not waiting[2].done()
        waiting[2].cancel()
    assert len(watcher) == 0


@pytest.mark.gen_test
async def test_nothing_is_looked_at_when_nobody_watches() -> None:
    store = Versions(a=1)
    watcher = Watcher(store, 10, interval=0.01)
    for _ in range(2):
        with watcher.watch("a") as watch:
            await until(lambda: bool(store.looks))
            assert not await watch.changed(1, 0.0)
        await until(lambda: watcher._looking is None)
        store.looks.clear()
        watcher.poke("a")
    await asyncio.sleep(0.05)
    assert store.looks == []


@pytest.mark.gen_test
async def test_those_who_watch_a_poked_job_have_a_look_at_once_and_once() -> None:
    store = Versions(a=1, b=1)
    watcher = Watcher(store, 10, interval=NEVER)
    with watcher.watch("a") as one, watcher.watch("a") as two, watcher.watch("b") as other:
        waiting = [asyncio.ensure_future(watch.changed(1, NEVER)) for watch in (one, two, other)]
        await asyncio.sleep(0)
        watcher.poke("a")
        watcher.poke("nobody's")
        assert await asyncio.gather(*waiting[:2]) == [True, True]
        assert not waiting[2].done() and not await one.changed(1, 0.01)
        waiting[2].cancel()
    assert store.looks == []


@pytest.mark.gen_test
async def test_a_change_before_the_wait_begins_is_seen() -> None:
    watcher = Watcher(Versions(a=2), 10, interval=NEVER)
    with watcher.watch("a") as watch:
        watcher.poke("a")
        assert await watch.changed(1, NEVER)


@pytest.mark.gen_test
async def test_an_answer_that_is_older_than_what_the_reader_has_is_no_news() -> None:
    store = Versions(a=1)
    watcher = Watcher(store, 10, interval=0.01)
    with watcher.watch("a") as watch:
        await until(lambda: len(store.looks) >= 2)
        assert not await watch.changed(2, 0.05)


@pytest.mark.gen_test
async def test_a_job_that_is_gone_is_news() -> None:
    store = Versions(a=1)
    watcher = Watcher(store, 10, interval=0.01)
    with watcher.watch("a") as watch:
        del store.versions_now["a"]
        assert await watch.changed(1, NEVER)


@pytest.mark.gen_test
@pytest.mark.parametrize("error", [StoreUnavailable("away"), ValueError("a fault")])
async def test_while_the_store_is_away_those_who_wait_go_on_waiting(error: Exception) -> None:
    store = Versions(a=1)
    store.failure = error
    watcher = Watcher(store, 10, interval=0.01)
    with watcher.watch("a") as watch:
        waiting = asyncio.ensure_future(watch.changed(1, NEVER))
        await until(lambda: len(store.looks) >= 3)
        assert not waiting.done()
        store.failure = None
        store.versions_now["a"] = 2
        assert await waiting


@pytest.mark.gen_test
async def test_a_reader_that_could_not_find_the_news_is_woken_again() -> None:
    store = Versions(a=2)
    watcher = Watcher(store, 10, interval=0.01)
    with watcher.watch("a") as watch:
        assert await watch.changed(1, NEVER)
        assert await watch.changed(1, NEVER)
        assert not await watch.changed(2, 0.05)


@pytest.mark.gen_test
async def test_a_job_is_read_once_for_all_who_read_it_at_the_same_time() -> None:
    store = Versions()
    watcher = Watcher(store, 10)
    assert await asyncio.gather(*(watcher.read("a", "") for _ in range(50)), watcher.read("b", "")) == [None] * 51
    assert store.calls["get"] == 2
    await watcher.read("a", "")
    assert store.calls["get"] == 3


@pytest.mark.gen_test
async def test_a_reader_that_leaves_ends_the_reading_for_no_other() -> None:
    watcher = Watcher(Versions(), 10)
    first, second = (asyncio.ensure_future(watcher.read("a", "")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is None


@pytest.mark.gen_test
async def test_an_error_of_a_reading_is_for_those_who_wait_and_for_nobody_when_all_have_left() -> None:
    store = Versions()
    store.error = StoreUnavailable("away")
    watcher = Watcher(store, 10)
    with pytest.raises(StoreUnavailable):
        await watcher.read("a", "")
    left = asyncio.ensure_future(watcher.read("a", ""))
    await asyncio.sleep(0)
    left.cancel()
    await until(lambda: not watcher._readings)  # the loop of the test fails it for an exception that is lost


@pytest.mark.gen_test
async def test_the_watches_are_bounded() -> None:
    watcher = Watcher(Versions(a=1), 2, interval=NEVER)
    with watcher.watch("a"), watcher.watch("b"):
        with pytest.raises(TooManyWatches), watcher.watch("a"):
            pass
    with watcher.watch("a"), watcher.watch("b"):
        assert len(watcher) == 2


@pytest.mark.gen_test
async def test_a_watcher_that_closes_wakes_all_and_lets_nobody_wait_any_more() -> None:
    watcher = Watcher(Versions(a=1), 10, interval=NEVER)
    with watcher.watch("a") as watch:
        waiting = asyncio.ensure_future(watch.changed(1, NEVER))
        await asyncio.sleep(0)
        watcher.close()
        assert await waiting
        assert await watch.changed(1, NEVER)
    with watcher.watch("a") as watch:
        assert await watch.changed(1, NEVER)
    await until(lambda: watcher._looking is None)
