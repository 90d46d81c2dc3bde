"""The jobs of a server: the tests of its routes run over any store that has a worker."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest

from server.jobs.model import Store
from tests.server.fake_jobs import FakePublisher, FakeStore, FakeWorker
from tests.server.jobs_site import Site, Worker, serving

Serve = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture
def publisher() -> FakePublisher:
    return FakePublisher()


@pytest.fixture
def fake() -> FakeStore:
    """A store that can be made to fail."""
    return FakeStore()


@pytest.fixture
def store(fake: FakeStore) -> Store:
    return fake


@pytest.fixture
def worker(fake: FakeStore) -> Worker:
    """What happens to the jobs of `store`."""
    return FakeWorker(fake)


@pytest.fixture
def serve(store: Store, publisher: FakePublisher) -> Serve:
    """Serves the jobs of `store`; settings as for Settings."""
    return partial(serving, store, publisher)
