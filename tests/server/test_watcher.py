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
        self.answering = asyncio.Event()
        self.answering.set()

    async def versions(self, job_ids: Collection[str], timeout: float) -> dict[str, int]:
        self.looks.append(set(job_ids))
        await self.answering.wait()
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
        await until(lambda: watcher._task is None)
        store.looks.clear()
        watcher.poke("a")
    await asyncio.sleep(0.05)
    assert store.looks == []


@pytest.mark.gen_test
async def test_a_poked_job_is_looked_at_at_once_and_alone() -> None:
    store = Versions(a=1, b=1)
    watcher = Watcher(store, 10, interval=NEVER)
    with watcher.watch("a") as watch, watcher.watch("b"):
        waiting = asyncio.ensure_future(watch.changed(1, NEVER))
        await asyncio.sleep(0)
        store.versions_now["a"] = 2
        watcher.poke("a")
        watcher.poke("nobody's")
        assert await waiting
        assert store.looks == [{"a"}]


@pytest.mark.gen_test
async def test_a_poke_during_a_look_has_another_one_made() -> None:
    store = Versions(a=1)
    watcher = Watcher(store, 10, interval=NEVER)
    with watcher.watch("a") as watch:
        waiting = asyncio.ensure_future(watch.changed(1, NEVER))
        store.answering.clear()
        watcher.poke("a")
        await until(lambda: len(store.looks) == 1)
        watcher.poke("a")
        store.answering.set()
        await until(lambda: len(store.looks) == 2)
        store.versions_now["a"] = 2
        watcher.poke("a")
        assert await waiting


@pytest.mark.gen_test
async def test_what_is_poked_all_the_time_keeps_no_other_from_being_looked_at() -> None:
    store = Versions(a=1, b=1)
    watcher = Watcher(store, 10, interval=0.01)
    with watcher.watch("a"), watcher.watch("b") as other:
        waiting = asyncio.ensure_future(other.changed(1, NEVER))
        store.versions_now["b"] = 2
        while not waiting.done():
            watcher.poke("a")
            await asyncio.sleep(0)
        assert waiting.result()


@pytest.mark.gen_test
async def test_a_change_before_the_wait_begins_is_seen() -> None:
    store = Versions(a=2)
    watcher = Watcher(store, 10, interval=NEVER)
    with watcher.watch("a") as watch:
        watcher.poke("a")
        await until(lambda: len(store.looks) == 1)
        await asyncio.sleep(0)
        assert await watch.changed(1, NEVER)


@pytest.mark.gen_test
async def test_an_answer_that_is_older_than_what_the_reader_has_is_no_news() -> None:
    store = Versions(a=1)
    watcher = Watcher(store, 10, interval=NEVER)
    with watcher.watch("a") as watch:
        watcher.poke("a")
        await until(lambda: len(store.looks) == 1)
        await asyncio.sleep(0)
        assert not await watch.changed(2, 0.01)


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
    await until(lambda: watcher._task is None)
