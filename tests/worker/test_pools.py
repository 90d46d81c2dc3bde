"""What runs requests: real threads, and a loop that a test turns."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from nowait.worker import pools
from nowait.worker.hub import HubCalls
from nowait.worker.pools import SoloRunner, ThreadRunner


class SomeRequest:
    """Calls a function when it is run."""

    def __init__(self, run: Callable[[], object]) -> None:
        self.run = run


class SomePool:
    """A pool of threads, as Celery's has them."""

    limit = 2

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(self.limit)


class Loop:
    """Stands for Celery's event loop: calls its readers when a test says so."""

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def add_reader(self, _file: Any, callback: Any) -> None:
        self.readers.append(callback)

    def turn(self) -> None:
        [reader] = self.readers
        reader()


@pytest.fixture
def pool() -> Iterator[SomePool]:
    pool = SomePool()
    yield pool
    pool.executor.shutdown(cancel_futures=True)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def calls(loop: Loop) -> Iterator[HubCalls]:
    """Calls on that loop, which a ConnectionError ends."""
    calls = HubCalls((ConnectionError,))
    calls.register(loop)
    yield calls
    calls.close()


def add(runner: Any, *functions: Callable[[], object]) -> None:
    for function in functions:
        runner.waiting.append(SomeRequest(function))
        runner.begin()


def test_threads_run_as_many_at_once_as_the_pool_allows_and_all_in_the_end(pool: SomePool) -> None:
    runner = ThreadRunner(pool, lambda: False)
    gate, lock, done = threading.Event(), threading.Lock(), threading.Semaphore(0)
    running = most = 0

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        gate.wait(30)
        with lock:
            running -= 1
        done.release()

    add(runner, *[work] * 50)
    gate.set()
    assert all(done.acquire(timeout=30) for _ in range(50))
    assert most == 2 and not runner.waiting


def test_no_request_is_left_behind_when_a_thread_ends_its_turn_as_one_comes(pool: SomePool) -> None:
    runner = ThreadRunner(pool, lambda: False)
    done = threading.Semaphore(0)
    for _ in range(2000):
        add(runner, done.release)
    assert all(done.acquire(timeout=30) for _ in range(2000))


def test_the_pools_other_work_has_its_turn(pool: SomePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_TURN", 1e-9)
    gates = [threading.Event(), threading.Event()]
    runner = ThreadRunner(pool, lambda: False)
    for gate in gates:
        pool.executor.submit(gate.wait, 30)
    done: list[int] = []
    add(runner, *[lambda: done.append(1)] * 100_000)
    other = pool.executor.submit(lambda: len(done))
    for gate in gates:
        gate.set()
    assert other.result(30) < 100_000
    runner.waiting.clear()


def test_a_request_that_raises_takes_no_thread_with_it(pool: SomePool) -> None:
    runner = ThreadRunner(pool, lambda: False)
    done = threading.Semaphore(0)

    def shut_down() -> None:
        raise SystemExit

    add(runner, *[shut_down] * 4, done.release)
    assert done.acquire(timeout=30)


def test_nothing_begins_while_it_is_paused(pool: SomePool) -> None:
    paused, done = True, threading.Event()
    runner = ThreadRunner(pool, lambda: paused)
    add(runner, done.set)
    assert len(runner.waiting) == 1 and not done.is_set()
    paused = False
    runner.begin()
    assert done.wait(30)


def test_a_pool_that_has_stopped_leaves_requests_where_they_are(pool: SomePool) -> None:
    runner = ThreadRunner(pool, lambda: False)
    pool.executor.shutdown()
    add(runner, lambda: None)
    assert len(runner.waiting) == 1


def test_solo_runs_them_on_the_thread_of_the_loop_which_has_its_turn_in_between(
    monkeypatch: pytest.MonkeyPatch, loop: Loop, calls: HubCalls
) -> None:
    monkeypatch.setattr(pools, "_TURN", -1.0)
    threads: list[threading.Thread] = []
    runner = SoloRunner(calls, lambda: False)
    adding = threading.Thread(target=add, args=(runner, *[lambda: threads.append(threading.current_thread())] * 2))
    adding.start()
    adding.join()
    loop.turn()
    assert threads == []
    monkeypatch.setattr(pools, "_TURN", 60.0)
    loop.turn()
    assert threads == [threading.current_thread()] * 2


def test_a_call_that_fails_keeps_no_other_and_one_that_ends_the_loop_is_followed_by_the_others(
    caplog: pytest.LogCaptureFixture, loop: Loop, calls: HubCalls
) -> None:
    done: list[int] = []

    def fail(error: Exception) -> None:
        raise error

    calls.call_soon(fail, ValueError("no"))
    calls.call_soon(done.append, 1)
    calls.call_soon(fail, ConnectionResetError("lost"))
    calls.call_soon(done.append, 2)
    with pytest.raises(ConnectionResetError):
        loop.turn()
    assert done == [1] and "no" in caplog.text
    loop.turn()
    assert done == [1, 2]
